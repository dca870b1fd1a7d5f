"""The HTTP connection manager: how visitors' HTTP is read before any endpoint is known."""

from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import ClientVerification
from portico.model.names import is_wildcard
from portico.translate import limits, names, visitor_certificate
from portico.translate.access_log import request_lines
from portico.translate.filters import http_filters
from portico.translate.lookup import MAX_LABELS
from portico.translate.replies import local_replies
from portico.translate.tracing import tracing, untrusted
from portico.translate.typed import ADS, Body, extension

_AUTHORITY: Final = "%REQ(:authority)%"
_UNTRUSTED: Final = ("x-forwarded-for", "x-forwarded-port", *visitor_certificate.HEADERS)
"""What visitors may not tell about themselves: the edge is where they arrive, and Envoy writes these anew."""
_TOLD: Final = (
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-client-cert"),
    *("x-real-ip", "content-length", "transfer-encoding", *visitor_certificate.HEADERS),
)
"""CGI and WSGI read `_` as `-`: with one of them anywhere, these would pass for the edge's word or the framing."""


def _with_underscore(name: str) -> str:
    """What matches the spellings of `name` that have one; one alternative for each place where the first may be."""
    words = name.split("-")
    return "|".join("-".join(words[:at]) + "_" + "[-_]".join(words[at:]) for at in range(1, len(words)))


_MISSPELT: Final[Body] = {"safe_regex": {"regex": "|".join(map(_with_underscore, _TOLD))}}


def connection_manager(
    frame: EdgeFrame,
    scope_class: str,
    *,
    stat_prefix: str,
    own_host: str | None = None,
    asks: ClientVerification | None = None,
) -> Body:
    """The network filter for requests of `scope_class`; `own_host` is the one that an endpoint's own chain serves.

    `asks` says what a visitor's certificate must be, where the chain asks for one.
    """
    labels = MAX_LABELS if own_host is None or is_wildcard(own_host) else 1
    return extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=stat_prefix,
        codec_type="AUTO",
        early_header_mutation_extensions=[_early_headers(frame, scope_class, asks)],
        scoped_routes=_scoped_routes(),
        http_filters=[
            *limits.body_filter(frame.limits),
            *http_filters(frame, scope_class, labels, tells_certificate=asks is not None),
        ],
        local_reply_config=local_replies(frame.domain, shared=own_host is None),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=request_lines(frame.access_log, traced=frame.tracing is not None),
        generate_request_id=frame.access_log is not None or frame.tracing is not None,
        **_visitor(asks),
        **tracing(frame),
        **limits.reading(frame.limits),
        **limits.timeouts(frame.limits, frame.idle_seconds),
    )


def _early_headers(frame: EdgeFrame, scope_class: str, asks: ClientVerification | None) -> Body:
    written = {
        **({} if scope_class == names.INTERNAL else {names.CLASS_HEADER: scope_class, names.HOST_HEADER: _AUTHORITY}),
        "x-forwarded-host": _AUTHORITY,
        **({} if asks is None else visitor_certificate.TOLD),
    }
    appends = [
        {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
        for key, value in written.items()
    ]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            *({"remove": name} for name in (*_UNTRUSTED, *untrusted(frame))),
            {"remove_on_match": {"key_matcher": _MISSPELT}},
            *appends,
        ],
    )


def _scoped_routes() -> Body:
    """The same in every connection manager, so that they share one copy of the scopes."""
    fragments = [
        {"header_value_extractor": {"name": names.CLASS_HEADER, "element_separator": ";", "index": 0}},
        {"header_value_extractor": {"name": names.HOST_HEADER, "element_separator": ":", "index": 0}},
    ]
    return {
        "name": "scopes",
        "scope_key_builder": {"fragments": fragments},
        "scoped_rds": {"scoped_rds_config_source": ADS},
        "rds_config_source": ADS,
    }


def _visitor(asks: ClientVerification | None) -> Body:
    """Who the visitor is, as upstreams are told."""
    fields: Body = {
        "use_remote_address": True,
        "append_x_forwarded_port": True,
        # Nobody is internal, wherever he comes from: a range without visitors takes the place of Envoy's default.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "server_header_transformation": "PASS_THROUGH",
        "forward_client_cert_details": "SANITIZE",
    }
    if asks is not None:
        # One that was not verified goes as a whole to the upstream, which is to judge it.
        details = {"subject": True, "dns": True, "uri": True, **({} if asks.verifies else {"chain": True})}
        fields |= {"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": details}
    return fields
