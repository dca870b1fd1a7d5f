"""`basic-auth` (https://ngrok.com/docs/traffic-policy/actions/basic-auth/, RFC 7617)."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Secret, Switch, Text, text
from portico.policy.effects import Effect, End, Ending, Scene
from portico.policy.functions.encodings import text_of_base64
from portico.policy.phases import Phase
from portico.policy.template import Template

_SHORTEST, _LONGEST = 8, 128
_PREFIX: Final = "basic "


def _credential(template: Template) -> Template:
    """`user:password`; either may be an expression, and so may the whole."""
    if template.alone:
        return template
    literal = template.literal
    written = literal if literal is not None else "".join(part for part in template.parts if isinstance(part, str))
    user, colon, password = written.partition(":")
    if not colon:
        raise ValueError("must be user:password; an expression cannot span the colon")
    if literal is not None and (not user or not _SHORTEST <= len(password) <= _LONGEST):
        raise ValueError(f"must have a user, and a password of {_SHORTEST} to {_LONGEST} characters")
    return template


def _joined(credential: Any) -> Any:
    """`username` and `password` apart, as one page of ngrok's has them."""
    if isinstance(credential, dict) and credential.keys() == {"username", "password"}:
        return f"{text(credential['username'])}:{text(credential['password'])}"
    return credential


def _ascii(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("must be printable ASCII")
    return value


class BasicAuth(ActionConfig):
    """Lets those in who know a password; everybody else gets 401."""

    TYPE = "basic-auth"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Asks for a user name and a password (HTTP Basic)."
    COMPARED = Compared(Likeness.DIFFERENT, "The realm is `portico` if nothing is said, not `ngrok`.")

    credentials: tuple[Annotated[Secret, BeforeValidator(_joined), AfterValidator(_credential)], ...] = Field(
        min_length=1, max_length=10, description="`user:password`, 1 to 10; passwords have 8 to 128 characters."
    )
    realm: Annotated[Text, AfterValidator(_ascii), Field(max_length=128)] = Field(
        default="portico", description="What the browser shows; ASCII, 128 characters at most."
    )
    enforce: Switch = Field(default=True, description="`false`: only look, and leave the finding to later rules.")

    def stops(self) -> bool:
        """Where it is enforced."""
        return self.enforce

    def act(self, scene: Scene) -> Effect:
        """Compares what the request brought."""
        given = self._given(scene)
        known = given is not None and given in [scene.fill(credential) for credential in self.credentials]
        found = {"presented": given is not None, "authorized": known, "username": (given or "").partition(":")[0]}
        scene.result("basic_auth", {"credentials": found})
        if known or not self.enforce:
            return Effect("the credentials are right" if known else "the credentials are wrong, which is not enforced")
        why = "the credentials are wrong" if given is not None else "no credentials came along"
        challenge = {"www-authenticate": f'Basic realm="{self.realm}"'}
        return Effect(why, Ending(End.RESPONSE, 401, challenge))

    def _given(self, scene: Scene) -> str | None:
        value = next(iter(scene.headers.get("authorization", [])), "")
        if not value.lower().startswith(_PREFIX):
            return None
        try:
            return text_of_base64(value[len(_PREFIX) :].strip())
        except ValueError:
            return ""
