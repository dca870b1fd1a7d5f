"""`set-vars` (https://ngrok.com/docs/traffic-policy/actions/set-vars/)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from portico.policy import phases
from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.nested import Nested, filled, nested_map
from portico.policy.effects import Effect, Scene
from portico.policy.functions.encodings import to_json

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _one(value: Any) -> Mapping[str, Nested]:
    found = nested_map(value)
    if len(found) != 1:
        raise ValueError("must be a mapping with exactly one entry; begin a new list entry for the next variable")
    if not all(_NAME.fullmatch(name) for name in found):
        raise ValueError("names a variable that expressions cannot name; use letters, digits and _")
    return found


class SetVars(ActionConfig):
    """Sets variables for later rules."""

    TYPE = "set-vars"
    PHASES = phases.ALL
    MEANING = "Sets variables that later rules read as `vars.name`."
    KEEPS_TYPES = True
    COMPARED = Compared(Likeness.SAME, "`policy check` warns where a variable is read that no rule before has set.")

    vars: tuple[Annotated[Mapping[str, Nested], PlainValidator(_one)], ...] = Field(
        min_length=1, description="A list of mappings with one entry each; later ones may use earlier ones."
    )

    def names(self) -> list[str]:
        """The variables it sets."""
        return [name for one in self.vars for name in one]

    def act(self, scene: Scene) -> Effect:
        """Sets them, in order."""
        done = []
        for one in self.vars:
            values = filled(one, scene)
            scene.values["vars"] = {**scene.values.get("vars", {}), **values}
            done += [f"vars.{name} = {to_json(value)}" for name, value in values.items()]
        return Effect("sets " + ", ".join(done))
