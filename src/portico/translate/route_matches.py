"""What a request must be for a route, in Envoy's words."""

from portico.model.route import FieldMatch, Match, PathKind, PathMatch
from portico.translate.typed import Body


def match_body(match: Match) -> Body:
    """`RouteMatch`: all that is said must hold."""
    body = _path(match.path)
    headers = [_field(_header_name(field), field) for field in match.headers]
    if match.methods:
        # Methods are tokens (RFC 9110, 9.1); none of those that are let in here means anything in an expression.
        said = {"exact": match.methods[0]} if len(match.methods) == 1 else _regex("|".join(match.methods))
        headers.append({"name": ":method", "string_match": said})
    if headers:
        body["headers"] = headers
    if match.query:
        body["query_parameters"] = [_field(field.name, field) for field in match.query]
    return body


def _path(path: PathMatch) -> Body:
    match path.kind:
        case PathKind.EXACT:
            return {"path": path.value}
        case PathKind.REGEX:
            return _regex(path.value)
        case PathKind.PREFIX:
            bare = path.value.rstrip("/")
            return {"path_separated_prefix": bare} if bare else {"prefix": "/"}


def _field(name: str, field: FieldMatch) -> Body:
    if field.value is None:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": _regex(field.value) if field.regex else {"exact": field.value}}


def _header_name(field: FieldMatch) -> str:
    """Envoy keeps the Host header under HTTP/2's name."""
    return ":authority" if field.name.lower() == "host" else field.name


def _regex(pattern: str) -> Body:
    return {"safe_regex": {"regex": pattern}}
