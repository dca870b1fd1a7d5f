"""`compress-response` (https://ngrok.com/docs/traffic-policy/actions/compress-response/)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from portico.policy.actions.action import ActionConfig
from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase

Algorithm = Literal["gzip", "deflate", "br", "compress"]


def _unique(algorithms: tuple[Algorithm, ...]) -> tuple[Algorithm, ...]:
    if len(set(algorithms)) < len(algorithms):
        raise ValueError("has an algorithm twice")
    return algorithms


class CompressResponse(ActionConfig):
    """Compresses what the upstream did not, with what the visitor understands."""

    TYPE = "compress-response"
    PHASES = (Phase.HTTP_RESPONSE,)
    MEANING = "Compresses the response with an algorithm that the request accepts."

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1), AfterValidator(_unique)] = Field(
        default=("gzip", "deflate", "br", "compress"), description="Those to choose from."
    )

    def act(self, scene: Scene) -> Effect:
        """Negotiates as RFC 9110 12.5.3 says; of equal weights the first of ours."""
        already = bool(scene.headers.get("content-encoding"))
        accepted = _weights(",".join(scene.values.get("req.headers", {}).get("accept-encoding", [])))
        best = max(self.algorithms, key=lambda name: _weight(accepted, name))
        chosen = "" if already or _weight(accepted, best) <= 0 else best
        scene.result("compress", {"already_compressed": already, "negotiated_algorithm": chosen})
        if not chosen:
            return Effect("compressed already" if already else "the request accepts none of the algorithms")
        scene.headers.pop("content-length", None)
        scene.headers["content-encoding"] = [chosen]
        scene.headers["vary"] = [*scene.headers.get("vary", []), "accept-encoding"]
        return Effect(f"compresses with {chosen}")


def _weights(header: str) -> dict[str, float]:
    found = {}
    for part in filter(None, (part.strip() for part in header.split(","))):
        name, _, weight = part.partition(";")
        try:
            found[name.strip().lower()] = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
    return found


def _weight(accepted: dict[str, float], name: str) -> float:
    return accepted.get(name, accepted.get("*", 0.0))
