"""`/reserved_addrs`: TCP ports that one owner alone may use."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, StoredView, Text
from portico.model.errors import API_CONFLICT, NO_FREE_PORT, PORT_OUT_OF_RANGE, PorticoError

if TYPE_CHECKING:
    from portico.store.reserved_addrs import ReservedAddr, ReservedAddrs
    from portico.store.store import Unit


class ReservedAddrCreate(Create):
    """A new reserved address."""

    region: Annotated[Text, Field(max_length=63)] = Field(
        default="", description="Understood for the sake of ngrok's clients; without effect."
    )
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="The port, if it is to be a certain one of the edge's range."
    )


class ReservedAddrView(StoredView):
    """A reserved address."""

    addr: str
    region: str


class ReservedAddrResource(StoredResource["ReservedAddr"]):
    """Reserved addresses."""

    name = "reserved_addrs"
    noun = "reserved address"
    about = "TCP addresses that nobody else may use; the edge chooses the port unless you do."
    view = ReservedAddrView
    create_body = ReservedAddrCreate

    def records(self, unit: "Unit") -> "ReservedAddrs":
        """Where reserved addresses are."""
        return unit.reserved_addrs

    def create(self, call: Call, unit: "Unit", owner_id: str, body: ReservedAddrCreate) -> "tuple[ReservedAddr, str]":
        """Reserve the asked-for port, or a free one."""
        ports = call.node.tcp_ports
        taken = {addr.port for addr in unit.reserved_addrs.all()}
        if body.port is not None:
            if body.port not in ports:
                message = f"port: {body.port} is outside of this edge's range {ports.start}-{ports.stop - 1}"
                raise PorticoError(PORT_OUT_OF_RANGE, message)
            if body.port in taken or call.node.holders(f"tcp:{body.port}") - {owner_id}:
                raise PorticoError(API_CONFLICT, f"port: {body.port} is taken", fix="Choose another port, or none.")
        port = body.port or next(
            (port for port in ports if port not in taken and not call.node.holders(f"tcp:{port}")), None
        )
        if port is None:
            raise PorticoError(NO_FREE_PORT, f"all {len(ports)} ports for tcp endpoints are taken")
        made = unit.reserved_addrs.add(owner_id, port, description=body.description, note=body.metadata)
        return made, ""

    def show(self, call: Call, value: "ReservedAddr") -> ReservedAddrView:
        """As host:port."""
        addr = f"{call.node.domain}:{value.port}"
        return ReservedAddrView(**self.fields(call, value), addr=addr, region=call.node.domain)

    async def created(self, node: Node, value: "ReservedAddr") -> None:
        """The registry hears of it."""
        await node.reservations_changed()

    async def removed(self, node: Node, value: "ReservedAddr") -> None:
        """The registry hears of it."""
        await node.reservations_changed()
