"""`request-body-find-replace` and `response-body-find-replace`.

https://ngrok.com/docs/traffic-policy/actions/request-body-find-replace/
"""

from pydantic import Field

from portico.policy.actions.action import ActionConfig, Compared, Fields, Likeness
from portico.policy.actions.fields import Interpolated, Regex
from portico.policy.actions.urls import pattern, replaced
from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase
from portico.policy.template import parse_template


class Replacement(Fields):
    """One pattern and what its matches become."""

    from_: Regex = Field(alias="from", description="RE2; every match is replaced.")
    to: Interpolated = Field(default=parse_template(""), description="Replacement; `$1` is the first group.")


class BodyFindReplace(ActionConfig):
    """What both have in common."""

    COMPARED = Compared(
        Likeness.DIFFERENT,
        "In a `from` with `${}` all else is plain text, and what `${}` gives stands for itself. A body is held as a "
        "whole until its end has come: a request of more than 256 KiB is refused with 413, a response becomes a 500. "
        "One that is compressed is passed on as it is.",
    )

    replacements: tuple[Replacement, ...] = Field(
        min_length=1, description="Patterns (`from`) and replacements (`to`), applied in order."
    )

    def act(self, scene: Scene) -> Effect:
        """Counts what is found in the body, where the facts have one."""
        name = "res.body" if scene.phase is Phase.HTTP_RESPONSE else "req.body"
        if name not in scene.values:
            return Effect("the body is not known here", assumed=True)
        body, found = scene.text(name), 0
        for one in self.replacements:
            body, matches = replaced(pattern(one.from_, scene), scene.fill(one.to), body)
            found += len(matches)
        scene.values[name] = body
        return Effect(f"{found} replaced in the body")


class RequestBodyFindReplace(BodyFindReplace):
    """In the request."""

    TYPE = "request-body-find-replace"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Replaces what regular expressions find in the request's body."


class ResponseBodyFindReplace(BodyFindReplace):
    """In the response."""

    TYPE = "response-body-find-replace"
    PHASES = (Phase.HTTP_RESPONSE,)
    MEANING = "Replaces what regular expressions find in the response's body."
