"""Takes the picture that the status screen draws from a running agent."""

from http import HTTPStatus
from typing import Final

from portico.agent.agent import Agent
from portico.agent.inspector import CapturedRequest
from portico.agent.session import SessionState
from portico.cli.screen import Picture, RequestLine
from portico.version import __version__

_REQUESTS: Final = 200


def picture_of(agent: Agent, web: str = "") -> Picture:
    """What there is to see of `agent` now; `web` is the URL of its web interface."""
    status = agent.status
    facts = status.facts
    online = status.state is SessionState.ONLINE
    problems = [endpoint.problem for endpoint in agent.endpoints if endpoint.problem]
    requests = agent.inspector.requests(_REQUESTS) if agent.inspector else []
    return Picture(
        status=str(status.state),
        account=f"{facts.account} (Plan: {facts.plan})" if facts.account and facts.plan else facts.account,
        version=__version__,
        region=facts.region,
        latency=status.latency,
        web=web,
        forwarding=tuple((endpoint.url, str(endpoint.upstream)) for endpoint in agent.endpoints),
        warnings=tuple(dict.fromkeys(text for endpoint in agent.endpoints for text in endpoint.warnings)),
        figures=agent.figures,
        requests=tuple(_line(request) for request in requests if request.method),
        notice=(problems[0] if problems else "") if online else status.reason,
    )


def _line(request: CapturedRequest) -> RequestLine:
    local = request.start.astimezone()
    time = f"{local:%H:%M:%S}.{local.microsecond // 1000:03} {local:%Z}"
    return RequestLine(time, request.method, request.uri, _answer(request), request.status or 0)


def _answer(request: CapturedRequest) -> str:
    """`200 OK`: the upstream's own reason, or the usual one, which HTTP/2 leaves out; nothing while it is awaited."""
    if request.status is None:
        return "" if request.duration is None else "no answer"
    own = request.response.start_line.split(" ", 2)[2:] if request.response else []
    try:
        usual = HTTPStatus(request.status).phrase
    except ValueError:
        usual = ""
    return f"{request.status} {own[0] if own and own[0] else usual}".rstrip()
