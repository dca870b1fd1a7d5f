"""The access log: a line for each request, and for each connection of tls and tcp endpoints.

Nothing secret is in a line: no query unless it is asked for, no header but the visitor's own name for his program. What
policies decided comes from dynamic metadata of the namespace `portico`, which their runtime sets.
"""

from typing import Final

from portico.model.observability import AccessLog, LogForm
from portico.translate.typed import Body, extension

POLICY: Final = "portico"
"""Namespace of dynamic metadata with the outcome of policies: `rule`, `action`, `identity`, and `log` (an object)."""
CONNECTION_POLICY: Final = "envoy.filters.network.ratelimit"
"""The same of connections: what the gate has answered (`byte_policies.py`)."""
TLS_FACTS: Final = "portico.tls"
"""Namespace of what TLS has told, behind the listener where it ended (`behind_tls.py`)."""
POLICY_COMPONENT: Final = "policy"
"""What tells lines that policies want to be written from all others in Envoy's own log."""

_TIME: Final = "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%"
_VISITOR: Final = "%DOWNSTREAM_REMOTE_ADDRESS%"
_UPSTREAM: Final = "%CEL(upstream.address.startsWith('/') ? 'tunnel' : upstream.address)%"
"""`tunnel` for an agent, or the address that the edge reached itself."""
_ENDPOINT: Final = "%UPSTREAM_CLUSTER_RAW%"
"""Clusters of endpoints are named by their URLs; there is none where the edge or a policy has answered."""
_ROUTE: Final = "%ROUTE_NAME%"

_HOST: Final = "%REQ(X-FORWARDED-HOST)%"
"""As the visitor wrote it: an endpoint may rewrite the other."""

_TLS: Final[Body] = {
    "version": "%DOWNSTREAM_TLS_VERSION%",
    "server_name": "%REQUESTED_SERVER_NAME%",
    "certificate": "%DOWNSTREAM_PEER_SUBJECT%",
}
_TLS_BEHIND: Final[Body] = {name: f"%DYNAMIC_METADATA({TLS_FACTS}:{name})%" for name in _TLS}
_BYTES: Final[Body] = {"in": "%BYTES_RECEIVED%", "out": "%BYTES_SENT%"}
_OUTCOME: Final[Body] = {name: f"%DYNAMIC_METADATA({POLICY}:{name})%" for name in ("rule", "action", "identity", "log")}
_CONNECTION_OUTCOME: Final[Body] = {
    name: f"%DYNAMIC_METADATA({CONNECTION_POLICY}:{name})%" for name in ("rule", "action", "log")
}
_TIMES: Final[Body] = {
    "total": "%DURATION%",
    "request": "%REQUEST_DURATION%",
    "first_byte": "%RESPONSE_DURATION%",
    "response": "%RESPONSE_TX_DURATION%",
}
"""Milliseconds since the request began: its last byte was here, the upstream's first and last bytes were."""


def request_lines(log: AccessLog | None, *, traced: bool) -> list[Body]:
    """The access loggers of a connection manager.

    Without an access log, what a policy wants to be written goes to the edge's own log; with one it is in its lines.
    """
    if log is None:
        facts = {
            "visitor": _VISITOR,
            "method": "%REQ(:METHOD)%",
            "host": _HOST,
            "path": _path(query=False),
            "status": "%RESPONSE_CODE%",
            **_OUTCOME,
        }
        return [_wanted_by_policies(POLICY, facts)]
    if log.form is LogForm.JSON:
        return [_logger(log, {"json_format": _request(_path(log.query), traced=traced)})]
    return [_logger(log, {"text_format_source": {"inline_string": _request_text(_path(log.query))}})]


def connection_lines(
    log: AccessLog | None, endpoint: str, *, decided: bool = False, behind_tls: bool = False
) -> list[Body]:
    """The access loggers of a proxy of bytes, where visitors of `endpoint` come.

    `decided` says whether the gate does, `behind_tls` whether TLS ended before them.
    """
    tls = _TLS_BEHIND if behind_tls else _TLS
    if log is None:
        facts = {"visitor": _VISITOR, "endpoint": endpoint, **_CONNECTION_OUTCOME}
        return [_wanted_by_policies(CONNECTION_POLICY, facts)] if decided else []
    if log.form is LogForm.JSON:
        line: Body = {
            "time": _TIME,
            "visitor": _VISITOR,
            "endpoint": endpoint,
            "upstream": _UPSTREAM,
            "bytes": _BYTES,
            "ms": {"total": "%DURATION%"},
            "tls": tls,
            "policy": _CONNECTION_OUTCOME,
            "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "flags": "%RESPONSE_FLAGS_LONG%",
        }
        return [_logger(log, {"json_format": line})]
    text = (
        f"{_TIME} {_VISITOR} connection {endpoint} %BYTES_RECEIVED% in %BYTES_SENT% out %DURATION% ms {_UPSTREAM} "
        f"{tls['version']} {_CONNECTION_OUTCOME['action']} %RESPONSE_FLAGS_LONG%\n"
    )
    return [_logger(log, {"text_format_source": {"inline_string": text}})]


def _path(query: bool) -> str:
    return "%PATH(WQ:ORIG_OR_PATH)%" if query else "%PATH(NQ:ORIG_OR_PATH)%"


def _request(path: str, *, traced: bool) -> Body:
    return {
        "time": _TIME,
        "visitor": _VISITOR,
        "method": "%REQ(:METHOD)%",
        "host": _HOST,
        "path": path,
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "error": "%RESP(PORTICO-ERROR-CODE)%",
        "bytes": _BYTES,
        "ms": _TIMES,
        "endpoint": _ENDPOINT,
        "route": _ROUTE,
        "upstream": _UPSTREAM,
        "tls": _TLS,
        "policy": _OUTCOME,
        "request_id": "%REQ(X-REQUEST-ID)%",
        **({"trace_id": "%TRACE_ID%"} if traced else {}),
        "agent": "%REQ(USER-AGENT):256%",
        "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "flags": "%RESPONSE_FLAGS_LONG%",
    }


def _request_text(path: str) -> str:
    return (
        f'{_TIME} {_VISITOR} "%REQ(:METHOD)% %REQ(X-FORWARDED-HOST)% {path} %PROTOCOL%" %RESPONSE_CODE% '
        "%RESP(PORTICO-ERROR-CODE)% %BYTES_RECEIVED% in %BYTES_SENT% out %DURATION% ms %RESPONSE_DURATION% first "
        f"{_ENDPOINT} {_UPSTREAM} %DOWNSTREAM_TLS_VERSION% %REQ(X-REQUEST-ID)% "
        f"%DYNAMIC_METADATA({POLICY}:action)% %DYNAMIC_METADATA({POLICY}:identity)% %RESPONSE_FLAGS_LONG%\n"
    )


def _logger(log: AccessLog, form: Body) -> Body:
    if log.path:
        kind, where = "file", "envoy.extensions.access_loggers.file.v3.FileAccessLog"
        return extension(f"envoy.access_loggers.{kind}", where, path=log.path, log_format=form)
    return extension(
        "envoy.access_loggers.stdout", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", log_format=form
    )


def _wanted_by_policies(namespace: str, facts: Body) -> Body:
    """A line in the form of Envoy's own log (`envoy/process.py`), for visits alone whose policy wrote `log`."""
    line = {"level": "info", "component": POLICY_COMPONENT, "message": "a policy logs", "facts": facts}
    there = {"filter": namespace, "path": [{"key": "log"}], "value": {"present_match": True}}
    return {
        "filter": {"metadata_filter": {"matcher": there, "match_if_key_not_found": False}},
        **extension(
            "envoy.access_loggers.stderr",
            "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
            log_format={"json_format": line},
        ),
    }
