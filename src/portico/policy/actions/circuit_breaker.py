"""`circuit-breaker` (https://ngrok.com/docs/traffic-policy/actions/circuit-breaker/)."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, Strict

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Duration, Switch, Whole, between
from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase

_TEN_SECONDS = timedelta(seconds=10)


class CircuitBreaker(ActionConfig):
    """Refuses requests for a while when too many of the last ones failed."""

    TYPE = "circuit-breaker"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Answers 503 for a while when too large a share of the requests failed."
    COMPARED = Compared(
        Likeness.DIFFERENT,
        "Each worker of a node counts its own requests, so one may refuse while another does not yet. "
        "`error_threshold` may be left out (0.5); `num_buckets` is always 10.",
    )

    error_threshold: Annotated[float, Strict(), Field(ge=0.0, le=1.0)] = Field(
        default=0.5, description="Share of failed requests from which on it trips, 0.0 to 1.0."
    )
    volume_threshold: Whole = Field(
        default=10, ge=1, le=2_000_000_000, description="Requests in the window before it may trip."
    )
    window_duration: Annotated[Duration, between("1s", "2m")] = Field(
        default=_TEN_SECONDS, description="What is looked back at, 1s to 2m."
    )
    tripped_duration: Annotated[Duration, between("1s", "2m")] = Field(
        default=_TEN_SECONDS, description="How long requests are refused, 1s to 2m."
    )
    num_buckets: Whole = Field(default=10, ge=10, le=10, description="Parts of the window; fixed.")
    enforce: Switch = Field(default=True, description="`false`: never trip.")

    def stops(self) -> bool:
        """Where it is enforced."""
        return self.enforce

    def act(self, scene: Scene) -> Effect:
        """Nobody knows here how the upstream is."""
        return Effect("assumed closed: requests pass", assumed=True)
