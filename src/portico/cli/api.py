"""`portico api <resource> <verb>`: made of the same declarations as the API itself."""

import json
import os
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import click
from pydantic.fields import FieldInfo

from portico.api.resource import Resource, StoredResource
from portico.api.resources import RESOURCES
from portico.api.shapes import Body
from portico.cli.api_client import ApiClient, default_api_url
from portico.cli.groups import Group
from portico.cli.setup import Setup, config_option, default_connect_url
from portico.model.errors import API_KEY_ABSENT, OPTION_INVALID, PorticoError

_LIVE: Final = ("endpoints", "tunnels", "tunnel_sessions")
"""Those of sessions have ids of their own, which tell nothing of the time."""
_FILTER: Final = "by_"
"""Begins the flags of filters, some of which are called like the flags of every command."""
_OPTIONS: Final = ("config", "api_key", "api_url", "api_cas")


@click.group(cls=Group)
def api() -> None:
    """Call the edge's REST API: who may connect, what is reserved, what is online.

    Answers are JSON. A value `@FILE` is read from that file, so that keys need not stand on the command line.

    \b
    portico api credentials create --acl 'bind:*.example.com'
    portico api tls-certificates create --certificate-pem @cert.pem --private-key-pem @key.pem
    portico api tunnel-sessions list
    portico api tunnel-sessions stop ts_…
    """


def _with_client(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every command, and `client` for them."""

    def command(**parameters: Any) -> None:
        given = {name: parameters.pop(name) for name in _OPTIONS}
        function(client=_client(**given), **parameters)

    command.__doc__ = function.__doc__
    options = (
        config_option,
        click.option(
            "--api-cas", metavar="FILE", help="PEM file of who may sign the API's certificate; else --connect-cas's."
        ),
        click.option("--api-url", metavar="URL", help="Address of the API; else `api.` and the domain of connect_url."),
        click.option("--api-key", metavar="KEY", help="Lets this program call the API."),
    )
    for option in options:
        command = option(command)
    return command


def _client(config: tuple[str, ...], api_key: str | None, api_url: str | None, api_cas: str | None) -> ApiClient:
    agent = Setup.take({"config": config}).agent
    key = api_key or os.environ.get("PORTICO_API_KEY") or os.environ.get("NGROK_API_KEY")
    if not key and agent.api_key is not None:
        key = agent.api_key.reveal()
    if not key:
        raise PorticoError(API_KEY_ABSENT, "no API key was given")
    address = api_url or default_api_url(agent.connect_url or default_connect_url())
    return ApiClient(address.rstrip("/"), key, api_cas or agent.connect_cas or "")


def _print(answer: Any) -> None:
    if answer:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _list_command(resource: Resource[Any]) -> click.Command:
    @_with_client
    def entries(client: ApiClient, **parameters: Any) -> None:
        query = {name.removeprefix(_FILTER): value for name, value in parameters.items() if value}
        _print(client.call("GET", resource.name, **query))

    params: list[click.Parameter] = [
        click.Option(["--limit"], type=click.IntRange(1, 100), help="Entries at most."),
        click.Option(
            ["--filter"], metavar="CEL", help="Only those for which it is true, such as `obj.metadata == 'x'`."
        ),
        click.Option(["--before-id"], metavar="ID", help="Entries made before this one."),
        *(click.Option([f"--by-{name}"], multiple=True, help=f"Only with this {name}.") for name in resource.filters),
    ]
    order = "" if resource.name in _LIVE else ", newest first"
    return _command("list", f"List {resource.name.replace('_', ' ')}{order}.", entries, params)


def _one_command(resource: Resource[Any], verb: str, method: str, path: str) -> click.Command:
    @_with_client
    def one(client: ApiClient, ident: str) -> None:
        _print(client.call(method, path.format(quote(ident, safe=""))))

    return _command(verb, f"{verb.replace('-', ' ').capitalize()} one {resource.noun}.", one, [_ident()])


def _body_command(resource: Resource[Any], verb: str, method: str, body: type[Body]) -> click.Command:
    @_with_client
    def send(client: ApiClient, ident: str = "", **parameters: Any) -> None:
        fields = {name: _value(name, value) for name, value in parameters.items() if value not in (None, ())}
        path = f"{resource.name}/{quote(ident, safe='')}" if ident else resource.name
        _print(client.call(method, path, fields))

    ids = [_ident()] if verb == "update" else []
    flags = [flag for name, info in body.model_fields.items() if (flag := _flag(name, info))]
    return _command(verb, f"{verb.capitalize()} one {resource.noun}.", send, [*ids, *flags])


def _command(name: str, text: str, callback: Callable[..., None], params: list[click.Parameter]) -> click.Command:
    common = getattr(callback, "__click_params__", [])
    return click.Command(name, callback=callback, params=[*params, *reversed(common)], help=text)


def _ident() -> click.Argument:
    return click.Argument(["ident"], metavar="ID")


def _flag(name: str, info: FieldInfo) -> click.Option | None:
    """The flag of a field; None for those that only other clients need."""
    types = _plain_types(info.annotation)
    plain = next((kind for kind in (int, bool) if kind in types), str)
    is_list = list in types
    if not types <= {str, int, bool, list}:
        return None
    return click.Option(
        [f"--{name.replace('_', '-')}"],
        multiple=is_list,
        required=info.is_required(),
        type=plain,
        metavar="true|false" if plain is bool else None,
        help=info.description,
    )


def _plain_types(annotation: Any) -> set[Any]:
    """The types that an annotation comes to, lists included: `list[str] | None` is {list, str}."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _plain_types(parts[0])
    if origin is Literal:
        return {type(part) for part in parts}
    if origin is None:
        return set() if annotation is type(None) else {annotation}
    inner = set().union(*(_plain_types(part) for part in parts))
    return inner | {list} if origin is list else inner


def _value(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_value(name, item) for item in value]
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise PorticoError(
            OPTION_INVALID, f"--{name.replace('_', '-')}: {value[1:]} cannot be read: {reason}"
        ) from None


def _group(resource: Resource[Any]) -> click.Group:
    group = Group((resource.command_name or resource.name).replace("_", "-"), help=resource.about)
    path = f"{resource.name}/{{}}"
    if isinstance(resource, StoredResource):
        group.add_command(_body_command(resource, "create", "POST", resource.create_body))
    group.add_command(_one_command(resource, "get", "GET", path))
    group.add_command(_list_command(resource))
    if isinstance(resource, StoredResource):
        group.add_command(_body_command(resource, "update", "PATCH", resource.update_body))
        group.add_command(_one_command(resource, "delete", "DELETE", path))
        for reference in resource.detachable:
            group.add_command(_one_command(resource, f"delete-{reference}", "DELETE", f"{path}/{reference}"))
    for inner in resource.inner:
        group.add_command(_one_command(resource, f"list-{inner}", "GET", f"{path}/{inner}"))
    for command in resource.commands:
        group.add_command(_one_command(resource, command, "POST", f"{path}/{command}"))
    return group


for _resource in RESOURCES:
    api.add_command(_group(_resource))
