"""`forward-internal` (https://ngrok.com/docs/traffic-policy/actions/forward-internal/)."""

import urllib.parse
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from portico.model.names import INTERNAL_SUFFIX, is_internal_host
from portico.policy.actions.action import ActionConfig
from portico.policy.actions.fields import Interpolated
from portico.policy.effects import Effect, End, Ending, Scene
from portico.policy.phases import Phase
from portico.policy.template import Template

_SCHEMES: Final = ("http", "https", "tcp", "tls")


def _internal(template: Template) -> Template:
    if template.literal is not None and not is_internal(template.literal):
        raise ValueError(f"must be the URL of an internal endpoint, such as https://service{INTERNAL_SUFFIX}")
    return template


def is_internal(url: str) -> bool:
    """Whether an internal endpoint may have this URL."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in _SCHEMES and is_internal_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False


class ForwardInternal(ActionConfig):
    """Hands the visit to an internal endpoint, whose own policy then runs."""

    TYPE = "forward-internal"
    PHASES = (Phase.TCP_CONNECT, Phase.HTTP_REQUEST)
    MEANING = "Hands the visit to an internal endpoint (`*.internal`) of the same owner."

    url: Annotated[Interpolated, AfterValidator(_internal)] = Field(description="URL of the internal endpoint.")
    on_error: Literal["halt", "continue"] = Field(
        default="halt", description="`continue`: go on with the next action if that endpoint is not there."
    )

    def ends(self) -> bool:
        """Unless it is to go on after an error."""
        return self.on_error == "halt"

    def act(self, scene: Scene) -> Effect:
        """Assumes that the endpoint is online, where nobody knows."""
        url = scene.fill(self.url)
        if not is_internal(url):
            return Effect(f"{url} is no internal endpoint", self._nowhere(scene))
        if scene.is_there is not None and scene.is_there(url) is None:
            return Effect(f"{url} is not online", self._nowhere(scene))
        return Effect("forwards", Ending(End.FORWARDED, to=url), assumed=scene.is_there is None)

    def _nowhere(self, scene: Scene) -> Ending | None:
        if not self.ends():
            return None
        return Ending(End.CLOSED) if scene.phase is Phase.TCP_CONNECT else Ending(End.RESPONSE, 502)
