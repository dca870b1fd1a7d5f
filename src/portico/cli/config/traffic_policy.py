"""The text of a traffic policy, from wherever it is kept. What it means is the edge's matter."""

from pathlib import Path
from typing import Final

from portico.cli.config.models import Tunnel
from portico.model.errors import CONFIG_MISSING, OPTION_INVALID, POLICY_INVALID, PorticoError

_SECONDS_TO_FETCH: Final = 10
_LARGEST: Final = 1 << 20
_PATH: Final = "Check the path of the traffic policy."


def policy_text(tunnel: Tunnel) -> str:
    """JSON or YAML, or nothing where there is no policy. Raises PorticoError."""
    sources = {
        "traffic_policy": tunnel.traffic_policy,
        "policy": tunnel.policy,
        "traffic_policy_file": tunnel.traffic_policy_file,
        "traffic_policy_url": tunnel.traffic_policy_url,
    }
    named = [name for name, value in sources.items() if value is not None]
    if len(named) > 1:
        raise PorticoError(OPTION_INVALID, f"{' and '.join(named)} exclude each other")
    inline = tunnel.traffic_policy or tunnel.policy
    if inline is not None:
        import json

        return json.dumps(inline)
    if tunnel.traffic_policy_file is not None:
        return _checked(_read(tunnel.traffic_policy_file), tunnel.traffic_policy_file)
    if tunnel.traffic_policy_url is not None:
        return _checked(_fetched(tunnel.traffic_policy_url), tunnel.traffic_policy_url)
    return ""


def _read(name: str) -> str:
    from portico.yaml_source import read_text

    try:
        return read_text(Path(name).expanduser(), POLICY_INVALID)
    except PorticoError as error:
        missing = error.code is CONFIG_MISSING
        raise PorticoError(error.code, error.message, fix=_PATH if missing else None) from None


def _checked(text: str, name: str) -> str:
    """`text`, which must be a mapping; what is wrong inside it the edge tells. Raises PorticoError(POLICY_INVALID)."""
    from portico.yaml_source import parse

    source = parse(text, name, invalid=POLICY_INVALID)
    if source.problems:
        raise PorticoError(POLICY_INVALID, "\n".join(map(str, source.problems)))
    if not source.values:
        raise PorticoError(POLICY_INVALID, f"{name} holds no traffic policy")
    return text


def _fetched(url: str) -> str:
    import urllib.request
    from http.client import HTTPException

    if not url.startswith(("http://", "https://")):
        raise PorticoError(OPTION_INVALID, f"{url!r} is no http or https address")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS_TO_FETCH) as answer:  # noqa: S310
            body: bytes = answer.read(_LARGEST + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise PorticoError(
            CONFIG_MISSING, f"{url} cannot be fetched: {_why(error)}", fix="Check the address of the traffic policy."
        ) from None
    if len(body) > _LARGEST:
        raise PorticoError(POLICY_INVALID, f"{url} is larger than 1 MiB", fix="Give a traffic policy.")
    return body.decode("utf-8", "replace")


def _why(error: Exception) -> str:
    from urllib.error import HTTPError

    from portico.agent.dial_reason import explain

    if isinstance(error, HTTPError):
        return f"the answer is {error.code} {error.reason}"
    cause = getattr(error, "reason", error)
    return explain(cause)[1] if isinstance(cause, OSError) else str(cause)
