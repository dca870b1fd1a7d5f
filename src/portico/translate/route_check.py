"""What Envoy would refuse of routes, or read in another way than it is meant, found before anything is published.

Each finding is a sentence that begins with its place within the route. Doors that know the line of a single value check
it by `route_values` themselves.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from portico.model.route import (
    Affinity,
    Answer,
    Backend,
    Cors,
    FieldMatch,
    HeaderChanges,
    Match,
    Mirror,
    PathChange,
    PathKind,
    Redirect,
    Retries,
    Route,
)
from portico.translate.replies import OWN_STATUSES
from portico.translate.route_values import (
    MAX_VALUE,
    changed_name_fault,
    header_name_fault,
    host_fault,
    literal_path_fault,
    method_fault,
    origin_fault,
    parameter_fault,
    path_fault,
    regex_fault,
    value_fault,
)

MAX_WEIGHT: Final = 1_000_000
MAX_SECONDS: Final = 86_400
MAX_ATTEMPTS: Final = 100
MAX_LIFETIME: Final = 400 * 86_400
"""Longer than browsers keep a cookie (RFC 6265bis, 5.5)."""
REDIRECTS: Final = (301, 302, 303, 307, 308)


def route_faults(route: Route, pools: Iterable[str]) -> Iterator[str]:
    """What is wrong with a route of an http or https endpoint that has these pools."""
    known = set(pools)
    yield from _ends_once(route)
    for number, match in enumerate(route.matches):
        yield from (f"matches[{number}].{fault}" for fault in _match_faults(match))
    for number, backend in enumerate(route.backends):
        yield from (f"backends[{number}].{fault}" for fault in _backend_faults(backend))
    for number, mirror in enumerate(route.mirrors):
        yield from (f"mirrors[{number}].{fault}" for fault in _mirror_faults(mirror, known))
    yield from _header_faults("request_headers", route.request_headers)
    yield from _header_faults("response_headers", route.response_headers)
    yield from _redirect_faults(route.redirect) if route.redirect else ()
    yield from _answer_faults(route.answer) if route.answer else ()
    if route.rewrite is not None:
        yield from _prefixed("rewrite.host", host_fault(route.rewrite.host))
        yield from _change_faults("rewrite.path", route.rewrite.path, route)
    if route.redirect is not None:
        yield from _change_faults("redirect.path", route.redirect.path, route)
    yield from _time_faults(route)
    yield from _retry_faults(route.retries) if route.retries else ()
    yield from _affinity_faults(route.affinity) if route.affinity else ()
    yield from _cors_faults(route.cors) if route.cors else ()


def byte_route_faults(routes: tuple[Route, ...]) -> Iterator[str]:
    """What is wrong with the routes of a tls or tcp endpoint."""
    if len(routes) > 1:
        yield "there is more than one route, and nothing to tell their connections apart"
    for route in routes:
        if route != Route(route.name, backends=route.backends):
            yield "connections have backends alone: what is matched or changed are requests"
        if not route.backends:
            yield "backends: there is none"
        for number, backend in enumerate(route.backends):
            if backend != Backend(backend.pool, backend.weight):
                yield f"backends[{number}]: connections have no headers"
            yield from (f"backends[{number}].{fault}" for fault in _backend_faults(backend))


def _prefixed(place: str, fault: str) -> Iterator[str]:
    if fault:
        yield f"{place}: {fault}"


def _ends_once(route: Route) -> Iterator[str]:
    ends = {
        "backends": bool(route.backends),
        "redirect": route.redirect is not None,
        "answer": route.answer is not None,
    }
    given = [name for name, has in ends.items() if has]
    if len(given) > 1:
        yield f"{' and '.join(given)} exclude each other"
    if (route.redirect or route.answer) and (
        route.rewrite or route.mirrors or route.timeout or route.try_timeout or route.retries or route.affinity
    ):
        yield f"{given[0]}: nothing is sent on, so there is nothing to rewrite, copy, wait for or repeat"


def _match_faults(match: Match) -> Iterator[str]:
    yield from _prefixed("path", path_fault(match.path))
    for method in match.methods:
        yield from _prefixed("methods", method_fault(method))
    for number, header in enumerate(match.headers):
        yield from _prefixed(f"headers[{number}]", header_name_fault(header.name) or _field_fault(header))
    for number, parameter in enumerate(match.query):
        yield from _prefixed(f"query[{number}]", parameter_fault(parameter.name) or _field_fault(parameter))


def _field_fault(field: FieldMatch) -> str:
    if field.value is None:
        return ""
    return regex_fault(field.value) if field.regex else value_fault(field.value)


def _backend_faults(backend: Backend) -> Iterator[str]:
    if not 0 <= backend.weight <= MAX_WEIGHT:
        yield f"weight: {backend.weight} is not in 0 to {MAX_WEIGHT:,}"
    yield from _prefixed("pool", "" if backend.pool else "it has no name")
    yield from _prefixed("host", host_fault(backend.host))
    yield from _header_faults("request_headers", backend.request_headers)
    yield from _header_faults("response_headers", backend.response_headers)


def _mirror_faults(mirror: Mirror, pools: set[str]) -> Iterator[str]:
    if not 0 <= mirror.per_million <= 1_000_000:
        yield f"per_million: {mirror.per_million} is not in 0 to 1,000,000"
    yield from _prefixed("pool", "" if mirror.pool in pools else f"there is no pool {mirror.pool!r}")


def _header_faults(place: str, changes: HeaderChanges) -> Iterator[str]:
    for name, value in (*changes.set, *changes.add):
        yield from _prefixed(f"{place}.{name}", changed_name_fault(name) or value_fault(value))
    for name in changes.remove:
        yield from _prefixed(f"{place}.{name}", changed_name_fault(name))
    names = [name.lower() for name in (*(name for name, _ in (*changes.set, *changes.add)), *changes.remove)]
    if len(set(names)) < len(names):
        yield f"{place}: a header is named twice"


def _redirect_faults(redirect: Redirect) -> Iterator[str]:
    if redirect.scheme not in (None, "http", "https"):
        yield f"redirect.scheme: {redirect.scheme!r} is neither http nor https"
    if redirect.status not in REDIRECTS:
        yield f"redirect.status: {redirect.status} is none of {', '.join(map(str, REDIRECTS))}"
    if redirect.port is not None and not 0 < redirect.port < 65_536:
        yield f"redirect.port: {redirect.port} is no port"
    yield from _prefixed("redirect.host", host_fault(redirect.host))
    if redirect.host is not None and redirect.host.rpartition(":")[2].isdecimal():
        yield "redirect.host: the port stands in port"
    if redirect == Redirect(status=redirect.status):
        yield "redirect: it leads back to where it came from; give scheme, host, port or path"


def _answer_faults(answer: Answer) -> Iterator[str]:
    if not 200 <= answer.status <= 599 or answer.status in OWN_STATUSES:
        yield f"answer.status: {answer.status} is no status to answer with"
    if len(answer.body.encode()) > MAX_VALUE:
        yield f"answer.body: it has at most {MAX_VALUE:,} bytes"
    if answer.body and answer.status in (204, 205, 304):
        yield f"answer.body: an answer {answer.status} has none (RFC 9110, 15)"
    yield from _prefixed("answer.content_type", value_fault(answer.content_type))


def _change_faults(place: str, change: PathChange | None, route: Route) -> Iterator[str]:
    if change is None:
        return
    yield from _prefixed(place, literal_path_fault(change.value))
    if change.prefix and any(match.path.kind is not PathKind.PREFIX for match in route.matches):
        yield f"{place}: there is no prefix to change where a match is for an exact path or an expression"


def _time_faults(route: Route) -> Iterator[str]:
    for place, seconds in (("timeout", route.timeout), ("try_timeout", route.try_timeout)):
        if seconds and not 0.001 <= seconds <= MAX_SECONDS:
            yield f"{place}: {seconds:g} is not in 0.001 to {MAX_SECONDS:,} seconds"
    if 0 < route.timeout < route.try_timeout:
        yield "try_timeout: one try takes no longer than timeout lets all together take"


def _retry_faults(retries: Retries) -> Iterator[str]:
    if not 1 <= retries.attempts <= MAX_ATTEMPTS:
        yield f"retries.attempts: {retries.attempts} is not in 1 to {MAX_ATTEMPTS}"
    if not 0.001 <= retries.backoff <= MAX_SECONDS:
        yield f"retries.backoff: {retries.backoff:g} is not in 0.001 to {MAX_SECONDS:,} seconds"
    if wrong := [code for code in retries.codes if not 400 <= code <= 599]:
        yield f"retries.codes: {wrong[0]} is no status of a failure (400 to 599)"


def _affinity_faults(affinity: Affinity) -> Iterator[str]:
    if bool(affinity.cookie) == bool(affinity.header):
        yield "affinity: it needs a cookie or a header, one of the two"
    for place, name in (("cookie", affinity.cookie), ("header", affinity.header)):
        if name:
            yield from _prefixed(f"affinity.{place}", header_name_fault(name))
    if not 0 <= affinity.lifetime <= MAX_LIFETIME:
        yield f"affinity.lifetime: {affinity.lifetime} is not in 0 to {MAX_LIFETIME:,} seconds"
    if affinity.lifetime and affinity.header:
        yield "affinity.lifetime: a header has none"


def _cors_faults(cors: Cors) -> Iterator[str]:
    if not cors.origins or not cors.methods:
        yield "cors: it names no origins, or no methods"
    for origin in cors.origins:
        yield from _prefixed("cors.origins", origin_fault(origin))
    for method in cors.methods:
        yield from _prefixed("cors.methods", method_fault(method))
    for place, names in (("headers", cors.headers), ("exposed", cors.exposed)):
        for name in names:
            yield from _prefixed(f"cors.{place}", header_name_fault(name))
        if "*" in names and cors.credentials:
            yield f"cors.{place}: with credentials browsers take * for a header's name; name them"
    if not 0 <= cors.max_age <= MAX_SECONDS:
        yield f"cors.max_age: {cors.max_age} is not in 0 to {MAX_SECONDS:,} seconds"
