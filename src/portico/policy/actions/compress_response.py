"""`compress-response` (https://ngrok.com/docs/traffic-policy/actions/compress-response/)."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase

Algorithm = Literal["gzip", "deflate", "br", "compress"]
OFFERED: Final = ("gzip", "br")
"""Those that Envoy has; no browser asks for the others without them."""
SHORTEST: Final = 30
"""Bytes of a body that is worth it."""
TYPES: Final = (
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/x-javascript",
    "application/xhtml+xml",
    "application/xml",
    "image/svg+xml",
    "text/css",
    "text/html",
    "text/javascript",
    "text/plain",
    "text/xml",
)
"""Media types that are compressed, and whatever has none."""


def _unique(algorithms: tuple[Algorithm, ...]) -> tuple[Algorithm, ...]:
    if len(set(algorithms)) < len(algorithms):
        raise ValueError("has an algorithm twice")
    return algorithms


class CompressResponse(ActionConfig):
    """Compresses what the upstream did not, with what the visitor understands."""

    TYPE = "compress-response"
    PHASES = (Phase.HTTP_RESPONSE,)
    MEANING = "Compresses the response with an algorithm that the request accepts."
    COMPARED = Compared(
        Likeness.DIFFERENT,
        "Edges offer `gzip` and `br`; `deflate` and `compress` are understood, and not used. Texts, scripts, JSON, XML "
        f"and SVG of {SHORTEST} bytes and more are compressed, other types are passed on as they are, and so is what "
        "says `no-transform`. `actions.ngrok.compress.negotiated_algorithm` is not known to later rules.",
    )

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1), AfterValidator(_unique)] = Field(
        default=("gzip", "deflate", "br", "compress"), description="Those to choose from."
    )

    def act(self, scene: Scene) -> Effect:
        """Negotiates as RFC 9110 12.5.3 says; of equal weights the first of ours."""
        if why := _left_alone(scene.headers):
            scene.result("compress", {"already_compressed": False, "negotiated_algorithm": ""})
            return Effect(why)
        already = bool(scene.headers.get("content-encoding"))
        accepted = _weights(",".join(scene.values.get("req.headers", {}).get("accept-encoding", [])))
        best = max(self._offered(), key=lambda name: _weight(accepted, name))
        chosen = "" if already or best not in OFFERED or _weight(accepted, best) <= 0 else best
        scene.result("compress", {"already_compressed": already, "negotiated_algorithm": chosen})
        if not already:
            scene.headers["vary"] = [*scene.headers.get("vary", []), "accept-encoding"]
        if not chosen:
            return Effect("compressed already" if already else "the request accepts none of the algorithms")
        scene.headers.pop("content-length", None)
        scene.headers["content-encoding"] = [chosen]
        return Effect(f"compresses with {chosen}")

    def _offered(self) -> tuple[str, ...]:
        return tuple(name for name in self.algorithms if name in OFFERED) or ("identity",)


def _left_alone(headers: Mapping[str, list[str]]) -> str:
    """Why nothing is done to a response, whatever the request accepts; empty where something is."""
    media = next(iter(headers.get("content-type", [])), "").partition(";")[0].strip().lower()
    if media and media not in TYPES:
        return f"{media} is not compressed"
    if "no-transform" in ",".join(headers.get("cache-control", [])).lower():
        return "the response says no-transform"
    length = next(iter(headers.get("content-length", [])), "")
    return "the body is too short" if length.isdecimal() and int(length) < SHORTEST else ""


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
