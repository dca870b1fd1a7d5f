"""Small builders for shapes that every Envoy resource is full of."""

from typing import Any, Final, TypeAlias

Body: TypeAlias = dict[str, Any]

ADS: Final[Body] = {"ads": {}, "resource_api_version": "V3"}


def typed(type_name: str, /, **fields: Any) -> Body:
    """A message inside an `Any`."""
    return {"@type": f"type.googleapis.com/{type_name}", **fields}


def extension(name: str, type_name: str, /, **fields: Any) -> Body:
    """A named extension with its configuration."""
    return {"name": name, "typed_config": typed(type_name, **fields)}


def pipe(path: str) -> Body:
    """The address of a Unix socket."""
    return {"pipe": {"path": path}}


def socket_address(host: str, port: int) -> Body:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}
