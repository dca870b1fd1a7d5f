"""`deny`, `close-connection` and `custom-response` (https://ngrok.com/docs/traffic-policy/actions/deny/)."""

from typing import Final

from pydantic import Field

from portico.policy import phases
from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Headers, Interpolated, Whole, no_headers
from portico.policy.effects import Effect, End, Ending, Scene
from portico.policy.functions.encodings import is_json
from portico.policy.phases import Phase
from portico.policy.template import Template, parse_template

_CONNECT: Final = (Phase.TCP_CONNECT, Phase.HTTP_REQUEST)


class Deny(ActionConfig):
    """Ends the visit without a body."""

    TYPE = "deny"
    PHASES = _CONNECT
    MEANING = "Refuses the request with a status and no body, or closes the connection in `on_tcp_connect`."

    status_code: Whole = Field(default=403, ge=200, le=599, description="Status of the answer to a request.")

    def stops(self) -> bool:
        """Always."""
        return True

    def ends(self) -> bool:
        """Always."""
        return True

    def act(self, scene: Scene) -> Effect:
        """Ends it."""
        if scene.phase is Phase.TCP_CONNECT:
            return Effect("denies the connection", Ending(End.CLOSED))
        return Effect("denies the request", Ending(End.RESPONSE, self.status_code))


class CloseConnection(ActionConfig):
    """Ends the connection without a word."""

    TYPE = "close-connection"
    PHASES = _CONNECT
    MEANING = "Closes the connection at once, without an answer."

    def stops(self) -> bool:
        """Always."""
        return True

    def ends(self) -> bool:
        """Always."""
        return True

    def act(self, scene: Scene) -> Effect:
        """Ends it."""
        return Effect("closes the connection", Ending(End.CLOSED))


class CustomResponse(ActionConfig):
    """Answers in the upstream's place."""

    TYPE = "custom-response"
    PHASES = phases.HTTP
    MEANING = "Answers the request itself, or puts its answer in the place of the upstream's."
    COMPARED = Compared(Likeness.SAME, "Without a content-type: JSON, HTML or plain text, by the body's look.")

    status_code: Whole = Field(default=200, ge=200, le=599, description="Status.")
    body: Interpolated = Field(default=parse_template(""), description="Body.")
    headers: Headers = Field(default_factory=no_headers, description="Headers, 10 at most.")

    def stops(self) -> bool:
        """Always."""
        return True

    def ends(self) -> bool:
        """Always."""
        return True

    def act(self, scene: Scene) -> Effect:
        """Ends it."""
        body = scene.fill(self.body)
        headers = {name: scene.field(value) for name, value in self.headers.items()}
        if body:
            headers.setdefault("content-type", media_type(body))
        # https://ngrok.com/docs/gateway/traffic-policy/actions/custom-response: the response phase is still run.
        passed_on = scene.phase is Phase.HTTP_REQUEST
        return Effect("answers itself", Ending(End.RESPONSE, self.status_code, headers, body, passed_on=passed_on))


def media_type(body: str | Template) -> str:
    """The content type of a body that nobody named one for."""
    text = str(body).lstrip()
    if text[:1] in ("{", "[") and is_json(text):
        return "application/json"
    return "text/html; charset=utf-8" if text[:1] == "<" else "text/plain; charset=utf-8"
