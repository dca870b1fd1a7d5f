"""Policies for endpoints of `kit.translated`, as doors hand them on."""

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kit.translated import TranslatedEdge, endpoint
from portico.edge.endpoint_policy import endpoint_policy
from portico.model.endpoint import Scheme, UnixSocket

Rule = dict[str, Any]
Served = Callable[..., Awaitable[str]]
_numbers = itertools.count()


def serving(edge: TranslatedEdge, upstream: UnixSocket) -> Served:
    """Publishes an endpoint with a policy, all of one owner, and gives its host: a new one unless told."""

    async def publish(policy: str, *, host: str = "", url: str = "") -> str:
        name = host or f"p{next(_numbers)}.edge.test"
        await edge.publish(endpoint(url or f"https://{name}", upstream, traffic_policy=policy, owner="me"))
        return name

    return publish


def rule(*actions: tuple[str, Mapping[str, Any]], when: Sequence[str] = (), name: str = "") -> Rule:
    """One rule; an action is its type and its configuration."""
    return {
        "name": name,
        "expressions": list(when),
        "actions": [{"type": kind, "config": dict(config)} for kind, config in actions],
    }


def policy_text(
    *request: Rule, response: Sequence[Rule] = (), connect: Sequence[Rule] = (), scheme: Scheme = Scheme.HTTPS
) -> str:
    """The text of a checked policy with these rules of `on_http_request` and of the other phases."""
    phases = {"on_tcp_connect": list(connect), "on_http_request": list(request), "on_http_response": list(response)}
    return endpoint_policy([phases], scheme).text
