"""`/tunnel_sessions`: agents that are connected, and what they can be told to do."""

from collections.abc import Iterable
from datetime import datetime

from portico.api.live_resource import LiveResource, Named
from portico.api.ports import LiveSession
from portico.api.resource import Call
from portico.api.shapes import Ref, View

PREFIX = "ts_"


class TunnelSessionView(View):
    """A session of an agent."""

    agent_version: str
    credential: Ref | None
    ip: str
    metadata: str
    os: str
    region: str
    started_at: datetime
    transport: str


class TunnelSessionResource(LiveResource[LiveSession]):
    """Sessions."""

    name = "tunnel_sessions"
    noun = "tunnel session"
    about = "Agents that are connected. They can be stopped, restarted, and told to update themselves if they offer to."
    view = TunnelSessionView
    prefix = PREFIX
    commands = ("stop", "restart", "update")

    def everything(self, call: Call) -> Iterable[LiveSession]:
        """All sessions."""
        return call.node.sessions()

    def show(self, call: Call, value: Named[LiveSession]) -> TunnelSessionView:
        """One session."""
        session = value.live
        kind = "ssh_credentials" if session.transport == "ssh" else "credentials"
        credential = session.credential_id
        return TunnelSessionView(
            id=value.id,
            uri=call.uri(self.name, value.id),
            agent_version=session.agent_version,
            credential=Ref(id=credential, uri=call.uri(kind, credential)) if credential else None,
            ip=session.remote.rpartition(":")[0].strip("[]"),
            metadata=session.metadata,
            os=session.os,
            region=call.node.domain,
            started_at=session.started_at,
            transport=session.transport,
        )

    async def command(self, call: Call, value: Named[LiveSession], command: str) -> None:
        """Tell the agent. Raises PorticoError(AGENT_REFUSED)."""
        await call.node.command(value.live.id, command)
