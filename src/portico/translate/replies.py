"""Envoy's own answers as Portico's error pages."""

import re
from typing import Final

from portico.model import errors, pages
from portico.model.errors import ErrorCode
from portico.translate.typed import Body

OFFLINE_STATUS: Final = 470
MISDIRECTED_STATUS: Final = 471
FAILED_STATUS: Final = 472
FORWARDED_NOWHERE_STATUS: Final = 473
NO_ROUTE_STATUS: Final = 474
"""Unassigned statuses with which a scope or a policy names its page; no other reply comes here with them."""


def _noted(key: str) -> Body:
    """Whether a policy has noted this beside the stream (`runtime/visit.lua`)."""
    path = {"filter": "portico", "path": [{"key": key}], "value": {"bool_match": True}}
    return {"metadata_filter": {"matcher": path, "match_if_key_not_found": False}}


_OWN_ANSWER: Final[Body] = {"filter": _noted("answered")}
"""First of all: what a policy answers by its owner's wish goes out as it is."""
_STANDS_FOR: Final = {475: 400, 476: 403, 477: 413, 478: 429, 479: 431, 480: 507}
"""Unassigned statuses for those that would name a page, where a route answers with them by its owner's wish."""
OWN_STATUSES: Final = range(470, 481)
"""All of them."""

_BROWSER: Final[Body] = {"header_filter": {"header": {"name": "accept", "string_match": {"contains": "text/html"}}}}
_PROGRAM: Final[Body] = {"header_filter": {"header": {"name": "accept", "string_match": {"contains": "json"}}}}


def local_replies(domain: str, *, shared: bool) -> Body:
    """`LocalReplyConfig`. On a chain that is not `shared`, a host that it does not know is a misdirected request."""
    rules: list[tuple[Body, ErrorCode]] = [
        (_status(OFFLINE_STATUS), errors.ENDPOINT_OFFLINE),
        (_status(FAILED_STATUS), errors.POLICY_FAILED),
        (_any(_status(FORWARDED_NOWHERE_STATUS), _all(_flags("NR"), _noted("forwarded"))), errors.INTERNAL_OFFLINE),
        (_status(NO_ROUTE_STATUS), errors.NO_ROUTE),
        *(_unknown_host(domain) if shared else []),
        (_any(_status(MISDIRECTED_STATUS), _flags("NR")), errors.MISDIRECTED),
        (_status(403), errors.POLICY_DENIED),
        (_status(429), errors.RATE_LIMITED),
        (_flags("UO"), errors.STREAM_LIMIT),
        # 507 is Envoy's where a body was too large to be kept for the next attempt to connect.
        (_any(_flags("UF", "LH"), _status(507)), errors.TUNNEL_UNAVAILABLE),
        (_flags("UH"), errors.POOL_OFFLINE),
        (_flags("NC"), errors.ROUTE_BROKEN),
        # Silence is 408 where the request itself stopped, and 504 where the response never began.
        (_any(_flags("UT", "UMSDR"), _all(_flags("SI"), _status(504))), errors.UPSTREAM_TIMEOUT),
        (_flags("UPE", "UC", "UR", "LR", "URX"), errors.BAD_GATEWAY_RESPONSE),
    ]
    mappers = [mapper for condition, code in rules for mapper in _mappers(condition, code, status=code.status)]
    # What could not be read; each status stays what it is. Some of these come before Envoy has set its flag.
    refused = _any(_flags("DPE"), _status(400), _status(413), _status(431))
    wished = [{"filter": _status(stands), "status_code": status} for stands, status in _STANDS_FOR.items()]
    return {"mappers": [_OWN_ANSWER, *wished, *mappers, *_mappers(refused, errors.REQUEST_REFUSED, status=None)]}


def unmapped_status(status: int) -> int:
    """What a route is to answer with for visitors to see `status` and no page."""
    return next((stands for stands, meant in _STANDS_FOR.items() if meant == status), status)


def _unknown_host(domain: str) -> list[tuple[Body, ErrorCode]]:
    below = {
        "header_filter": {
            "header": {
                "name": ":authority",
                "string_match": {"safe_regex": {"regex": rf"(?i).+\.{re.escape(domain)}\.?(:\d+)?"}},
            }
        }
    }
    return [(_all(_flags("NR"), below), errors.ENDPOINT_OFFLINE), (_flags("NR"), errors.HOST_UNKNOWN)]


def _mappers(condition: Body, code: ErrorCode, *, status: int | None) -> list[Body]:
    forms = [
        (_all(condition, _BROWSER), "text/html; charset=utf-8", pages.html_page(code)),
        (_all(condition, _PROGRAM), "application/json", pages.json_page(code)),
        (condition, "text/plain; charset=utf-8", pages.text_page(code)),
    ]
    return [_mapper(when, code, status, content_type, text) for when, content_type, text in forms]


def _mapper(when: Body, code: ErrorCode, status: int | None, content_type: str, text: str) -> Body:
    headers = [*pages.code_headers(code), ("cache-control", "no-store")]
    body: Body = {
        "filter": when,
        "headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers
        ],
        "body_format_override": {
            "text_format_source": {"inline_string": text.replace("%", "%%")},
            "content_type": content_type,
        },
    }
    return body if status is None else body | {"status_code": status}


def _status(status: int) -> Body:
    comparison = {"op": "EQ", "value": {"default_value": status, "runtime_key": "portico.unused"}}
    return {"status_code_filter": {"comparison": comparison}}


def _flags(*flags: str) -> Body:
    return {"response_flag_filter": {"flags": list(flags)}}


def _any(*conditions: Body) -> Body:
    return {"or_filter": {"filters": list(conditions)}}


def _all(*conditions: Body) -> Body:
    return {"and_filter": {"filters": list(conditions)}}
