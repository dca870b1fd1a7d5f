"""Changes of headers, at a route or at one of its backends."""

from portico.model.route import Backend, HeaderChanges, Route
from portico.translate.typed import Body


def changed(place: Route | Backend) -> Body:
    """The fields of a `Route` or a `ClusterWeight` that say them."""
    fields: Body = {**_changes("request", place.request_headers), **_changes("response", place.response_headers)}
    if isinstance(place, Route) and place.answer is not None and place.answer.body:
        kind = header("content-type", place.answer.content_type)
        fields["response_headers_to_add"] = [kind, *fields.get("response_headers_to_add", [])]
    return fields


def _changes(side: str, changes: HeaderChanges) -> Body:
    added = [header(name, value) for name, value in changes.set]
    added += [header(name, value, beside=True) for name, value in changes.add]
    fields: Body = {f"{side}_headers_to_add": added} if added else {}
    return fields | ({f"{side}_headers_to_remove": list(changes.remove)} if changes.remove else {})


def header(name: str, value: str, *, beside: bool = False) -> Body:
    """A header in place of what is there, or `beside` it. Envoy takes `%` for the begin of a variable."""
    return {
        "header": {"key": name, "value": value.replace("%", "%%")},
        "append_action": "APPEND_IF_EXISTS_OR_ADD" if beside else "OVERWRITE_IF_EXISTS_OR_ADD",
        "keep_empty_value": True,
    }
