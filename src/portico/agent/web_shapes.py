"""What the agent's local API says, in the shapes of ngrok's agent API (https://ngrok.com/docs/agent/api)."""

import base64
from typing import Any, Final
from urllib.parse import quote

from portico.agent.agent import AgentEndpoint
from portico.agent.inspector import CapturedMessage, CapturedRequest
from portico.agent.metrics import ConnectionFigures
from portico.agent.session import SessionStatus
from portico.version import __version__

Json = dict[str, Any]

NANOSECONDS: Final = 1_000_000_000


def tunnel(endpoint: AgentEndpoint) -> Json:
    """An item of /api/tunnels."""
    return {
        "name": endpoint.name,
        "ID": endpoint.id,
        "uri": f"/api/tunnels/{quote(endpoint.name, safe='')}",
        "public_url": endpoint.url,
        "proto": endpoint.proto,
        "config": {"addr": str(endpoint.upstream), "inspect": endpoint.inspected},
        "metrics": {"conns": connections(endpoint.figures), "http": connections(endpoint.http_figures)},
    }


def endpoint_object(endpoint: AgentEndpoint) -> Json:
    """An item of /api/endpoints."""
    request = endpoint.request
    return {
        "name": endpoint.name,
        "id": endpoint.id,
        "uri": f"/api/endpoints/{quote(endpoint.name, safe='')}",
        "url": endpoint.url,
        "proto": endpoint.proto,
        "online": endpoint.online,
        "problem": endpoint.problem,
        "warnings": list(endpoint.warnings),
        "upstream": {"url": str(endpoint.upstream), "protocol": request.app_protocol or "http1"},
        "description": request.description,
        "metadata": request.metadata,
        "bindings": list(request.bindings),
        "pooling_enabled": request.pooling,
        "inspect": endpoint.inspected,
        "metrics": {"conns": connections(endpoint.figures), "http": connections(endpoint.http_figures)},
    }


def connections(figures: ConnectionFigures) -> Json:
    """Counts, rates a second, and durations in nanoseconds."""
    return {
        "count": figures.total,
        "gauge": figures.open,
        "rate1": figures.rate1,
        "rate5": figures.rate5,
        "rate15": figures.rate15,
        "p50": figures.p50 * NANOSECONDS,
        "p90": figures.p90 * NANOSECONDS,
        "p95": figures.p95 * NANOSECONDS,
        "p99": figures.p99 * NANOSECONDS,
    }


def captured_request(captured: CapturedRequest) -> Json:
    """An item of /api/requests/http."""
    response = captured.response
    return {
        "uri": f"/api/requests/http/{captured.id}",
        "id": captured.id,
        "tunnel_name": captured.endpoint,
        "remote_addr": captured.remote_address,
        "start": captured.start.isoformat().replace("+00:00", "Z"),
        "duration": None if captured.duration is None else int(captured.duration * NANOSECONDS),
        "request": {"method": captured.method, "uri": captured.uri, **_message(captured.request)},
        "response": None
        if response is None
        else {
            "status": response.start_line.partition(" ")[2],
            "status_code": captured.status,
            **_message(response),
        },
    }


def status(now: SessionStatus) -> Json:
    """The answer of /api/status."""
    leg = {"region": now.facts.region, "latency": int((now.latency or 0.0) * NANOSECONDS)}
    return {
        "status": str(now.state),
        "agent_version": __version__,
        "edge_version": now.facts.version,
        "reason": now.reason,
        "uri": "/api/status",
        "session": {"legs": [leg]},
    }


def _message(message: CapturedMessage) -> Json:
    headers: dict[str, list[str]] = {}
    for name, value in message.headers:
        headers.setdefault(name, []).append(value)
    return {
        "proto": message.protocol,
        "headers": headers,
        "raw": base64.b64encode(message.raw()).decode("ascii"),
        "size": message.size,
        "truncated": message.truncated,
    }
