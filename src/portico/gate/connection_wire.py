"""The wire of Envoy's question about a connection, which is that of its rate limit service.

Of Envoy's network filters the one for rate limits is the one that asks before the first byte, and so before an upstream
that speaks first is dialled. The messages are declared here as far as they are read and written:
https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto
"""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.message import DecodeError

PATH: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
CONTENT_TYPE: Final = "application/x-protobuf"
"""What Envoy's bridge from gRPC to HTTP/1.1 expects of an answer."""
_OK: Final = 1
_OVER_LIMIT: Final = 2
_PACKAGE: Final = "portico.gate"
_FieldKind = descriptor_pb2.FieldDescriptorProto


def read_question(data: bytes) -> dict[str, str]:
    """The facts of a connection, by name. Raises ValueError."""
    try:
        request = _classes["Request"].FromString(data)
    except DecodeError:
        raise ValueError("no request for a rate limit") from None
    return {entry.key: entry.value for descriptor in request.descriptors for entry in descriptor.entries}


def write_answer(passes: bool, facts: Mapping[str, Any]) -> bytes:
    """Whether the connection may go on, and what Envoy keeps beside it (dynamic metadata); any JSON."""
    answer = _classes["Response"](overall_code=_OK if passes else _OVER_LIMIT)
    answer.dynamic_metadata.update(facts)
    return bytes(answer.SerializeToString(deterministic=True))


def _declared() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="portico/gate/rate_limit.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    _message(file, "Entry", key=(1, _FieldKind.TYPE_STRING), value=(2, _FieldKind.TYPE_STRING))
    _message(file, "Descriptor", entries=(1, f".{_PACKAGE}.Entry"))
    _message(file, "Request", descriptors=(2, f".{_PACKAGE}.Descriptor"))
    response = _message(file, "Response", overall_code=(1, _FieldKind.TYPE_INT32))  # an enumeration is as an int32 is
    response.field.add(
        name="dynamic_metadata",
        number=6,
        label=_FieldKind.LABEL_OPTIONAL,
        type=_FieldKind.TYPE_MESSAGE,
        type_name=f".{struct_pb2.Struct.DESCRIPTOR.full_name}",
    )
    pool = descriptor_pool.Default()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("Request", "Response"))
    return {one.name: message_factory.GetMessageClass(one) for one in found}


def _message(file: Any, name: str, **fields: tuple[int, int | str]) -> Any:
    """A message whose fields are texts and numbers, or lists of another message."""
    message = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        if isinstance(kind, str):
            label, of = _FieldKind.LABEL_REPEATED, {"type": _FieldKind.TYPE_MESSAGE, "type_name": kind}
        else:
            label, of = _FieldKind.LABEL_OPTIONAL, {"type": kind}
        message.field.add(name=field, number=number, label=label, **of)
    return message


_classes: Final = _declared()
