"""`rate-limit` (https://ngrok.com/docs/traffic-policy/actions/rate-limit/)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Duration, Switch, Text, Whole, between
from portico.policy.effects import Effect, Scene
from portico.policy.functions.encodings import to_json
from portico.policy.phases import Phase


def _tens(value: timedelta) -> timedelta:
    if value % timedelta(seconds=10):
        raise ValueError("must be a multiple of 10s")
    return value


class RateLimit(ActionConfig):
    """Counts requests by a key and refuses what is too much."""

    TYPE = "rate-limit"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Answers 429 when a key has had its requests."
    COMPARED = Compared(
        Likeness.DIFFERENT,
        "A key that was silent may have twice its `capacity` in one `rate`. Nodes that share a database count "
        "together, in windows; a node with a store of its own counts for itself, and room comes back evenly.",
    )

    name: Annotated[Text, Field(min_length=1, max_length=1023)] = Field(description="Names the limit.")
    algorithm: Literal["sliding_window"] = Field(description="How it counts.")
    capacity: Whole = Field(ge=1, le=2_000_000_000, description="Requests in `rate`.")
    rate: Annotated[Duration, between("60s", "24h"), AfterValidator(_tens)] = Field(
        description="The time in which `capacity` requests are let through: 60s to 24h, a multiple of 10s."
    )
    bucket_key: tuple[Text, ...] = Field(
        min_length=1, max_length=10, description="Expressions; requests of equal values are counted together."
    )
    enforce: Switch = Field(default=True, description="`false`: only count, and leave the finding to later rules.")

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """The parts of the key."""
        yield from ((("bucket_key", number), key) for number, key in enumerate(self.bucket_key))

    def stops(self) -> bool:
        """Where it is enforced."""
        return self.enforce

    def act(self, scene: Scene) -> Effect:
        """Tells the key; the counter is assumed to have room."""
        key = to_json([scene.value(part) for part in self.bucket_key])
        scene.result("rate_limit", {"bucket_key": key, "limited": False})
        rate = f"{self.capacity} in {self.rate.total_seconds():g}s"
        return Effect(f"counts for {key}, assumed below {rate}", assumed=True)
