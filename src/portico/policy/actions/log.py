"""`log` (https://ngrok.com/docs/traffic-policy/actions/log/)."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from portico.policy import phases
from portico.policy.actions.action import ActionConfig
from portico.policy.actions.nested import Nested, filled, nested_map
from portico.policy.effects import Effect, Scene
from portico.policy.functions.encodings import to_json


def _something(value: Mapping[str, Nested]) -> Mapping[str, Nested]:
    if not value:
        raise ValueError("must have an entry")
    return value


class Log(ActionConfig):
    """Writes to the access log."""

    TYPE = "log"
    PHASES = phases.ALL
    MEANING = "Adds values to the line of the access log."
    KEEPS_TYPES = True

    metadata: Annotated[Mapping[str, Nested], PlainValidator(nested_map), AfterValidator(_something)] = Field(
        description="What is written: names and any values."
    )

    def act(self, scene: Scene) -> Effect:
        """Tells what would be written."""
        metadata = filled(self.metadata, scene)
        scene.logged.update(metadata)
        scene.result("log", {"metadata": metadata})
        return Effect(f"logs {to_json(metadata)}")
