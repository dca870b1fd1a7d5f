"""`redirect` and `url-rewrite` (https://ngrok.com/docs/traffic-policy/actions/redirect/)."""

import re
import urllib.parse
from collections.abc import Iterator
from typing import Final

from pydantic import Field

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Headers, Interpolated, Regex, Whole, as_python, no_headers
from portico.policy.effects import Effect, End, Ending, Scene, UnfilledError
from portico.policy.expressions import regex_fault
from portico.policy.phases import Phase
from portico.policy.request import url_values
from portico.policy.template import Template

_NO_GRAPHIC: Final = re.compile(r"[\x00-\x20\x7f]")
"""What would end a request's line, or the word of it that is the URL."""
_PATTERNS: Final = (
    "In a `from` with `${}` all else is plain text (a backslash before each sign), and what `${}` gives stands for "
    "itself; without `${}` it is any RE2 but scripts of Unicode."
)


def pattern(template: Template, scene: Scene) -> str:
    """The regular expression; what expressions in it give stands for itself. Raises UnfilledError."""
    if template.literal is not None:
        return template.literal
    found = "".join(part if isinstance(part, str) else re.escape(scene.fill_hole(part)) for part in template.parts)
    if not found:
        raise UnfilledError("there is no text to look for")
    return found


def _found(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Every match; as in Go, an empty one behind another is none."""
    at, behind = 0, -1
    while at <= len(text) and (match := pattern.search(text, at)):
        if match.end() > behind:
            yield match
        behind = match.end()
        at = max(behind, at + 1)


def replaced(pattern: str, replacement: str, subject: str) -> tuple[str, list[str]]:
    """Every match replaced, `$1` and `${1}` by its groups, and what was matched. Raises UnfilledError."""
    if reason := regex_fault(pattern):
        raise UnfilledError(f"`from` {reason}")
    try:
        compiled = re.compile(as_python(pattern))
    except re.error as error:
        raise UnfilledError(f"`from` cannot be explained: {error}") from None

    def group(match: re.Match[str]) -> str:
        def one(name: re.Match[str]) -> str:
            wanted = name[1] or name[2]
            try:
                return match[int(wanted) if wanted.isdigit() else wanted] or ""
            except IndexError:
                return ""

        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", one, replacement)

    matches, at = [*_found(compiled, subject)], 0
    out: list[str] = []
    for match in matches:
        out += subject[at : match.start()], group(match)
        at = match.end()
    return "".join((*out, subject[at:])), [match[0] for match in matches]


def _changed(frm: Template | None, to: Template, scene: Scene) -> tuple[str, str, list[str]]:
    """The URL before and after, and what was matched. An absent `from` matches the whole."""
    before = scene.text("req.url")
    after, matches = (
        (scene.fill(to), [before]) if frm is None else replaced(pattern(frm, scene), scene.fill(to), before)
    )
    try:
        after = urllib.parse.urljoin(before, _NO_GRAPHIC.sub(lambda found: f"%{ord(found[0]):02X}", after))
        url_values(after)
    except ValueError:
        raise UnfilledError(f"{after[:200]} is no URL") from None
    return before, after, matches


class Redirect(ActionConfig):
    """Sends the visitor to another URL, if `from` matches and the URL is another one then."""

    TYPE = "redirect"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Sends the visitor to another URL."
    COMPARED = Compared(Likeness.DIFFERENT, _PATTERNS)

    from_: Regex | None = Field(default=None, alias="from", description="RE2 on the whole URL; absent: all of it.")
    to: Interpolated = Field(description="What a match becomes; `$1` is the first group.")
    status_code: Whole = Field(default=302, ge=300, le=399, description="Status, 3xx.")
    headers: Headers = Field(default_factory=no_headers, description="Headers of the answer, 10 at most.")

    def stops(self) -> bool:
        """Always."""
        return True

    def act(self, scene: Scene) -> Effect:
        """Ends the visit if the URL changes."""
        before, after, matches = _changed(self.from_, self.to, scene)
        scene.result("redirect", {"matches": matches, "url": after})
        if before == after:
            return Effect("the URL stays as it is")
        headers = {name: scene.field(value) for name, value in self.headers.items()}
        return Effect("redirects", Ending(End.RESPONSE, self.status_code, {**headers, "location": after}))


class UrlRewrite(ActionConfig):
    """Changes the URL that later rules and the upstream see."""

    TYPE = "url-rewrite"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Changes the URL on the way to the upstream."
    COMPARED = Compared(Likeness.DIFFERENT, f"{_PATTERNS} A host that it changes is the upstream's `Host`.")

    from_: Regex | None = Field(default=None, alias="from", description="RE2 on the whole URL; absent: all of it.")
    to: Interpolated = Field(description="What a match becomes; `$1` is the first group.")

    def act(self, scene: Scene) -> Effect:
        """Changes `req.url` and what belongs to it."""
        before, after, matches = _changed(self.from_, self.to, scene)
        scene.result("url_rewrite", {"matches": matches, "url": after})
        if before == after:
            return Effect("the URL stays as it is")
        values = url_values(after)
        if (host := values["req.url.authority"]) != scene.text("req.url.authority"):
            scene.values["req.host"], scene.headers["host"] = host, [host]
        scene.values.update(values)
        return Effect(f"the URL becomes {after}")
