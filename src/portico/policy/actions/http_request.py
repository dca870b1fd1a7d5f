"""`http-request` (https://ngrok.com/docs/traffic-policy/actions/http-request/)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from portico.policy import phases
from portico.policy.actions.action import ActionConfig, Compared, Fields, Likeness
from portico.policy.actions.fields import Address, Duration, Headers, Interpolated, Text, Whole, between, no_headers
from portico.policy.effects import Effect, Scene
from portico.policy.template import Template, parse_template


def _at_most(template: Template, characters: int) -> Template:
    if template.literal is not None and len(template.literal) > characters:
        raise ValueError(f"must have at most {characters} characters")
    return template


class QueryParameter(Fields):
    """One parameter to append."""

    key: Annotated[Interpolated, AfterValidator(lambda key: _at_most(key, 128))] = Field(description="Name.")
    value: Annotated[Interpolated, AfterValidator(lambda value: _at_most(value, 8192))] = Field(description="Value.")


class HttpRequest(ActionConfig):
    """Asks another service, whose answer later rules may use."""

    TYPE = "http-request"
    PHASES = phases.HTTP
    MEANING = "Sends a request to another service; later rules see the answer."
    COMPARED = Compared(
        Likeness.BETTER,
        "`retry_condition` is checked as an expression before anything runs. Public addresses are reached, too; "
        "private ones where the edge's setting `policy_networks` opens them.",
    )

    url: Address = Field(description="Where to.")
    method: Literal["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"] = Field(default="GET", description="Method.")
    query_params: tuple[QueryParameter, ...] = Field(
        default=(), max_length=32, description="Parameters to append (`key`, `value`), 32 at most."
    )
    headers: Headers = Field(default_factory=no_headers, description="Headers, 10 at most.")
    body: Interpolated = Field(default=parse_template(""), description="Body.")
    max_redirects: Whole = Field(default=0, ge=0, le=5, description="Redirects to follow.")
    timeout: Annotated[Duration, between("1s", "30s")] = Field(
        default=timedelta(seconds=3), description="For all attempts together, 1s to 30s."
    )
    retry_condition: Text = Field(
        default="false", description="Expression of `attempts` and `last_attempt`; while true, up to 3 times again."
    )
    on_error: Literal["continue", "halt"] = Field(
        default="continue", description="`halt`: refuse the request if no answer came."
    )

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """`retry_condition`."""
        yield ("retry_condition",), self.retry_condition

    def stops(self) -> bool:
        """If no answer is to refuse the request."""
        return self.on_error == "halt"

    def act(self, scene: Scene) -> Effect:
        """Sends nothing: an explanation touches no network."""
        return Effect(f"would send {self.method} {scene.fill(self.url)}; its answer is not known here", assumed=True)
