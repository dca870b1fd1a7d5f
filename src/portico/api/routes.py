"""The routes of a resource, made of its declaration."""

import asyncio
import hashlib
import importlib
import logging
import types
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, create_model

from portico.api.ports import Node
from portico.api.problems import Problem
from portico.api.resource import Call, Caller, Resource, StoredResource, list_field, owner_of_new
from portico.api.shapes import Text, View
from portico.model.errors import API_CHANGED_MEANWHILE, API_NOT_FOUND, API_QUERY_UNKNOWN, PorticoError
from portico.store.store import Store, Unit

log = logging.getLogger(__name__)

MOST_ENTRIES: Final = 100
SCANNED: Final = 5_000
"""Entries that one filtered request looks at; the rest is behind the address of its next page."""
BATCH: Final = 1_000
FILTER: Final = "CEL over the fields of one entry: `obj.created_at >= daysAgo(7) && obj.description.contains('x')`."
JSON: Final = "application/json"
BeforeId = Annotated[Text | None, Query(description="Entries made before this one.")]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="ETag that the resource must still have, else 412.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Any text of yours: the same request under the same key is done once, within a day.",
    ),
]


class Done(BaseModel):
    """Nothing to say, said as an object: ngrok's Python client takes 204 as an answer to POST for a failure."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes work on."""

    store: Store
    node: Node
    turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    def turn(self, resource: Resource[Any]) -> AbstractAsyncContextManager[object]:
        """Where changes may fail to take effect, each waits for the one before it."""
        if not isinstance(resource, StoredResource) or not resource.may_fail:
            return nullcontext()
        return self.turns.setdefault(resource.name, asyncio.Lock())

    def call(self, request: Request) -> Call:
        """The request as resources see it."""
        host = request.headers.get("host", f"api.{self.node.domain}")
        query = {key: request.query_params.getlist(key) for key in request.query_params}
        state = request.scope["state"]
        return Call(state["caller"], self.node, f"https://{host}", state["operation_id"], query)

    def find(self, call: Call, unit: Unit, resource: Resource[Any], ident: str) -> Any:
        """Raises PorticoError(API_NOT_FOUND)."""
        value = resource.find(call, unit, ident)
        if value is None:
            raise PorticoError(API_NOT_FOUND, f"there is no {resource.noun} with this id")
        return value


def add_routes(router: APIRouter, resource: Resource[Any], context: Context) -> None:
    """Add every route of `resource`."""
    add = _Routes(router, resource)
    add("List", "", ["GET"], _list(resource, context), 200, _list_model(resource))
    add("Get", "/{id}", ["GET"], _get(resource, context), 200, resource.view)
    if isinstance(resource, StoredResource):
        add("Create", "", ["POST"], _create(resource, context), 201, resource.view)
        add("Update", "/{id}", ["PATCH"], _update(resource, context), 200, resource.view)
        add("Delete", "/{id}", ["DELETE"], _delete(resource, context), 204, None)
        for reference in resource.detachable:
            route = _detach(resource, context, reference)
            add(f"Delete{reference.title()}", f"/{{id}}/{reference}", ["DELETE"], route, 204, None)
    for field_name, inner in resource.inner.items():
        route = _list_within(resource, inner, field_name, context)
        add(f"List{field_name.title()}", f"/{{id}}/{field_name}", ["GET"], route, 200, _list_model(inner))
    for command in resource.commands:
        add(command.title(), f"/{{id}}/{command}", ["POST"], _command(resource, context, command), 200, Done)


@dataclass(frozen=True, slots=True)
class _Routes:
    router: APIRouter
    resource: Resource[Any]

    def __call__(
        self,
        verb: str,
        path: str,
        methods: list[str],
        endpoint: Callable[..., Any],
        status: int,
        model: type[BaseModel] | None,
    ) -> None:
        camel = "".join(word.title() for word in self.resource.name.split("_"))
        problems = {"4XX": {"model": Problem, "description": "What is wrong, and what to do."}}
        self.router.add_api_route(
            f"/{self.resource.name}{path}",
            endpoint,
            methods=methods,
            status_code=status,
            responses={status: {"model": model, "description": "Done."} if model else {"description": "Done."}}
            | {**problems, "5XX": {"model": Problem, "description": "The edge or the agent failed."}},
            response_model=None,
            operation_id=f"{camel}{verb}",
            summary=f"{verb}: {self.resource.noun}",
            tags=[camel],
        )


def _list_model(resource: Resource[Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        list_field(resource): (list[resource.view], ...),  # type: ignore[name-defined]
        "uri": (str, ...),
        "next_page_uri": (str | None, ...),
    }
    return create_model(f"{resource.view.__name__.removesuffix('View')}List", **fields)


def _list(resource: Resource[Any], context: Context) -> Callable[..., Any]:
    model = _list_model(resource)

    async def entries(
        request: Request,
        before_id: BeforeId = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES, description="Entries at most.")] = MOST_ENTRIES,
        filter: Annotated[str | None, Query(description=FILTER)] = None,  # noqa: A002 - its name in ngrok's API
    ) -> Response:
        call = context.call(request)
        _check_query(call, ("before_id", "limit", "filter", *resource.filters))
        if filter:
            views, last = await _filtered(resource, context, call, (before_id, limit), filter)
        else:
            with context.store.read() as unit:
                values = list(resource.page(call, unit, before_id, limit + 1))
            views = [resource.show(call, value) for value in values[:limit]]
            last = views[-1].id if len(values) > limit else None
        uri = call.uri(resource.name)
        more = _next_page(uri, call, last, limit) if last else None
        return _json(model(**{list_field(resource): views, "uri": uri, "next_page_uri": more}), 200)

    return entries


async def _filtered(
    resource: Resource[Any], context: Context, call: Call, page: tuple[str | None, int], text: str
) -> tuple[list[View], str | None]:
    """A page of what a filter lets through, and the id that the next page begins behind, if there may be one."""
    before_id, limit = page
    wanted = (await _filters()).wanted(resource, text)
    found: list[View] = []
    for _ in range(SCANNED // BATCH):
        with context.store.read() as unit:
            views = [resource.show(call, value) for value in resource.page(call, unit, before_id, BATCH)]
        for view in views:
            if wanted.has(view):
                if len(found) == limit:
                    return found, found[-1].id
                found.append(view)
        if len(views) < BATCH:
            return found, None
        before_id = views[-1].id
        await asyncio.sleep(0)  # others have their turn
    return found, before_id


async def _filters() -> types.ModuleType:
    # Imported with the first filter, and not in the event loop: CEL's library takes 200 ms.
    return await asyncio.to_thread(importlib.import_module, "portico.api.filters")


def _next_page(uri: str, call: Call, last: str, limit: int) -> str:
    """The same question about what comes after `last`."""
    kept = {name: values for name, values in call.query.items() if name not in ("before_id", "limit")}
    return f"{uri}?{urlencode({'before_id': last, 'limit': limit, **kept}, doseq=True)}"


def _list_within(outer: Resource[Any], inner: Resource[Any], name: str, context: Context) -> Callable[..., Any]:
    model = _list_model(inner)

    async def entries(
        request: Request,
        id: str,  # noqa: A002 - its name in the path
        before_id: BeforeId = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES, description="Entries at most.")] = MOST_ENTRIES,
    ) -> Response:
        call = context.call(request)
        _check_query(call, ("before_id", "limit"))
        with context.store.read() as unit:
            parent = context.find(call, unit, outer, id)
            values = list(inner.page_within(call, unit, parent.id, before_id, limit + 1))
        views = [inner.show(call, value) for value in values[:limit]]
        uri = call.uri(outer.name, id, name)
        more = f"{uri}?before_id={views[-1].id}&limit={limit}" if len(values) > limit else None
        return _json(model(**{list_field(inner): views, "uri": uri, "next_page_uri": more}), 200)

    return entries


def _get(resource: Resource[Any], context: Context) -> Callable[..., Any]:
    async def get(request: Request, id: str) -> Response:  # noqa: A002 - its name in the path
        call = context.call(request)
        _check_query(call, ())
        with context.store.read() as unit:
            view = resource.show(call, context.find(call, unit, resource, id))
        return _json(view, 200, etag(view))

    return get


def _create(resource: StoredResource[Any], context: Context) -> Callable[..., Any]:
    async def create(request: Request, body: Any, key: IdempotencyKey = None) -> Response:
        call = context.call(request)
        asked = f"{resource.name}\n".encode() + request.scope["state"]["body"]

        def write() -> tuple[Any, bytes]:
            resource.prepare(call, body)
            with context.store.write() as unit:
                if key is not None:
                    known = unit.answers.find(call.caller.key_id, call.caller.api_key, key, asked)
                    if known is not None:
                        return None, known
                value, token = resource.create(call, unit, owner_of_new(call, unit, body), body)
                view = resource.show(call, value)
                answer = (view.model_copy(update={"token": token}) if token else view).model_dump_json().encode()
                _audit(call, unit, "create", resource, value.id, sorted(body.model_fields_set))
                unit.tell(resource.change(value))
                if key is not None:
                    unit.answers.add(call.caller.key_id, call.caller.api_key, key, asked, answer)
                return value, answer

        def undo() -> None:
            with context.store.write() as unit:
                resource.records(unit).remove(value.id)
                unit.tell(resource.change(value))
                unit.audit.take_back(call.operation_id)
                if key is not None:
                    unit.answers.take_back(call.caller.key_id, key)

        async with context.turn(resource):
            value, answer = await asyncio.to_thread(write)
            if value is None:
                return Response(answer, 201, {"Idempotent-Replayed": "true"}, JSON)
            await _effect(resource.created(context.node, value), undo)
        _tell(call, "create", resource, value.id)
        return Response(answer, 201, {"ETag": etag(resource.show(call, value))}, JSON)

    create.__annotations__["body"] = resource.create_body
    return create


def _update(resource: StoredResource[Any], context: Context) -> Callable[..., Any]:
    async def update(request: Request, id: str, body: Any, if_match: IfMatch = None) -> Response:  # noqa: A002
        call = context.call(request)

        def write() -> tuple[Any, dict[str, object]]:
            resource.prepare(call, body)
            with context.store.write() as unit:
                value = context.find(call, unit, resource, id)
                _check_etag(if_match, resource.show(call, value))
                changes = resource.changes(call, unit, value, body)
                before = resource.records(unit).columns(id)
                changed = resource.records(unit).change(id, **changes)
                _audit(call, unit, "update", resource, id, sorted(body.model_fields_set))
                unit.tell(resource.change(changed))
                return changed, before

        def undo() -> None:
            with context.store.write() as unit:
                unit.tell(resource.change(resource.records(unit).change(id, **before)))
                unit.audit.take_back(call.operation_id)

        async with context.turn(resource):
            value, before = await asyncio.to_thread(write)
            await _effect(resource.updated(context.node, value), undo)
        _tell(call, "update", resource, id)
        view = resource.show(call, value)
        return _json(view, 200, etag(view))

    update.__annotations__["body"] = resource.update_body
    return update


def _delete(resource: StoredResource[Any], context: Context) -> Callable[..., Any]:
    async def delete(request: Request, id: str, if_match: IfMatch = None) -> Response:  # noqa: A002
        call = context.call(request)

        def write() -> Any:
            with context.store.write() as unit:
                value = context.find(call, unit, resource, id)
                _check_etag(if_match, resource.show(call, value))
                resource.remove(call, unit, value)
                _audit(call, unit, "delete", resource, id, [])
                unit.tell(resource.change(value))
                return value

        async with context.turn(resource):
            value = await asyncio.to_thread(write)
            _tell(call, "delete", resource, id)
            await resource.removed(context.node, value)
        return Response(status_code=204)

    return delete


def _detach(resource: StoredResource[Any], context: Context, reference: str) -> Callable[..., Any]:
    async def detach(request: Request, id: str, if_match: IfMatch = None) -> Response:  # noqa: A002
        call = context.call(request)

        def write() -> Any:
            with context.store.write() as unit:
                _check_etag(if_match, resource.show(call, context.find(call, unit, resource, id)))
                changed = resource.records(unit).change(id, **{f"{reference}_id": None})
                _audit(call, unit, "update", resource, id, [f"{reference}_id"])
                unit.tell(resource.change(changed))
                return changed

        value = await asyncio.to_thread(write)
        _tell(call, "update", resource, id)
        await resource.updated(context.node, value)
        return Response(status_code=204)

    return detach


def _command(resource: Resource[Any], context: Context, command: str) -> Callable[..., Any]:
    async def obey(request: Request, id: str) -> Response:  # noqa: A002
        call = context.call(request)
        with context.store.read() as unit:
            value = context.find(call, unit, resource, id)
        await resource.command(call, value, command)

        def write() -> None:
            with context.store.write() as unit:
                _audit(call, unit, command, resource, id, [])

        await asyncio.to_thread(write)
        _tell(call, command, resource, id)
        return _json(Done(), 200)

    return obey


async def _effect(work: Awaitable[None], undo: Callable[[], None]) -> None:
    """Wait until a change has taken effect; where it cannot, nothing is left of it."""
    try:
        await work
    except PorticoError:
        await asyncio.to_thread(undo)
        raise


def etag(view: View) -> str:
    """A strong validator: the same text for the same representation (RFC 9110, 8.8.3)."""
    return f'"{hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:32]}"'


def _check_etag(if_match: str | None, view: View) -> None:
    if if_match is None:
        return
    wanted = [text.strip() for text in if_match.split(",")]
    if "*" not in wanted and etag(view) not in wanted:
        raise PorticoError(API_CHANGED_MEANWHILE, f"{view.id} is not what If-Match says any more")


def _check_query(call: Call, known: tuple[str, ...]) -> None:
    unknown = sorted(set(call.query) - set(known))
    if unknown:
        supported = f"; supported: {', '.join(known)}" if known else ""
        raise PorticoError(API_QUERY_UNKNOWN, f"unknown query parameters: {', '.join(unknown)}{supported}")


def _audit(call: Call, unit: Unit, action: str, resource: Resource[Any], ident: str, fields: list[str]) -> None:
    caller: Caller = call.caller
    unit.audit.add(
        owner_id=caller.owner.id,
        user_id=caller.user_id,
        api_key_id=caller.key_id,
        operation_id=call.operation_id,
        action=action,
        resource=resource.name,
        resource_id=ident,
        fields=fields,
    )


def _tell(call: Call, action: str, resource: Resource[Any], ident: str) -> None:
    facts = {"action": action, "resource": resource.name, "id": ident, "operation": call.operation_id}
    log.info(
        "api change",
        extra={
            **facts,
            "owner": call.caller.owner.name,
            "user": call.caller.user_id or "",
            "api_key": call.caller.key_id,
        },
    )


def _json(view: BaseModel, status: int, tag: str = "") -> Response:
    return Response(view.model_dump_json(), status, {"ETag": tag} if tag else None, JSON)
