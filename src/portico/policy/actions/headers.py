"""`add-headers` and `remove-headers` (https://ngrok.com/docs/traffic-policy/actions/add-headers/)."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from portico.policy import phases
from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import HeaderName, Headers
from portico.policy.effects import Effect, Scene


def _not_the_user_agent(names: Any) -> Any:
    if "user-agent" in names:
        raise ValueError("user-agent can be neither added nor removed")
    return names


class AddHeaders(ActionConfig):
    """Adds beside what is there; `host` alone is replaced."""

    TYPE = "add-headers"
    PHASES = phases.HTTP
    MEANING = "Adds headers to the request or to the response."

    headers: Annotated[Headers, Field(min_length=1), AfterValidator(_not_the_user_agent)] = Field(
        description="Header names and their values, 1 to 10."
    )

    def act(self, scene: Scene) -> Effect:
        """Adds them to the message of this phase."""
        added = {name: scene.field(value) for name, value in self.headers.items()}
        for name, value in added.items():
            before = [] if name == "host" else scene.headers.get(name, [])
            scene.headers[name] = [*before, value]
        scene.result("add_headers", {"headers_added": added})
        return Effect("adds " + ", ".join(f"{name}: {value}" for name, value in added.items()))


class RemoveHeaders(ActionConfig):
    """Removes every header of these names."""

    TYPE = "remove-headers"
    PHASES = phases.HTTP
    MEANING = "Removes headers from the request or from the response."
    COMPARED = Compared(Likeness.SAME)

    headers: Annotated[
        tuple[HeaderName, ...], Field(min_length=1, max_length=10), AfterValidator(_not_the_user_agent)
    ] = Field(description="Header names, 1 to 10.")

    def act(self, scene: Scene) -> Effect:
        """Removes them from the message of this phase."""
        removed = [name for name in self.headers if scene.headers.pop(name, None) is not None]
        scene.result("remove_headers", {"headers_removed": removed})
        return Effect(f"removes {', '.join(removed)}" if removed else "none of them is there")
