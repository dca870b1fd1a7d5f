"""What an edge sends to agents unasked, against the real SDKs: a relay behind a real Envoy, with a scripted control."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kit import front
from kit.ports import free_port
from kit.relay_process import RelayProcess, running
from kit.sdk_program import Sdk, SdkProgram
from portico.relay import link

UPSTREAM = "http://127.0.0.1:9"


@dataclass
class Rig:
    """A relay, and an SDK with one endpoint on it."""

    relay: RelayProcess
    program: SdkProgram
    session: str
    bind: str

    async def command(self, name: str, **body: object) -> str:
        """Send one, and return the agent's error text."""
        control = self.relay.control
        ident = len(control.all(link.AgentAnswer)) + 1
        control.send(link.AgentCommand(id=ident, session=self.session, command=name, body=body))
        return (await control.wait_for(link.AgentAnswer, ident)).error

    async def until_obeyed(self, *commands: str) -> None:
        """Wait until the SDK's handlers saw these, and nothing else."""
        async with asyncio.timeout(30):
            while await asyncio.to_thread(self.program.ask, "commands") != list(commands):
                await asyncio.sleep(0.05)


@pytest.fixture
async def sdk_rig(sdk: Sdk, tmp_path: Path) -> AsyncIterator[Rig]:
    """Everything running, the endpoint bound."""
    ca, certificate, key = front.make_certificate(tmp_path)
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(running(tmp_path))
        agents = front.agents_front(port, str(relay.agents_socket), certificate, key)
        await stack.enter_async_context(front.envoy(tmp_path, agents))
        program = stack.enter_context(sdk.connect(f"localhost:{port}", ca, "test-token"))
        listener = await asyncio.to_thread(program.forward, UPSTREAM)
        # The scripted control makes the host of the bind's id.
        bind = str(urlsplit(listener.url).hostname).removesuffix(".test")
        yield Rig(relay, program, (await relay.control.wait_for(link.Bind)).session, bind)


class CommandChecks:
    """Stop, Restart, Update and StopTunnel; the Go SDK ends its session after the first two."""

    update = "update 9.9.9"
    """What the program notes of an Update; not every SDK tells its handler the version."""

    async def test_update_then_stop(self, sdk_rig: Rig) -> None:
        assert await sdk_rig.command("update", Version="9.9.9", PermitMajorVersion=True) == ""
        assert await sdk_rig.command("stop") == ""
        await sdk_rig.until_obeyed(self.update, "stop")

    async def test_restart(self, sdk_rig: Rig) -> None:
        assert await sdk_rig.command("restart") == ""
        await sdk_rig.until_obeyed("restart")

    async def test_an_endpoint_that_the_edge_ends(self, sdk: Sdk, sdk_rig: Rig) -> None:
        order = link.StopBind(session=sdk_rig.session, bind=sdk_rig.bind, message="gone", error_code="ERR_NGROK_3200")
        sdk_rig.relay.control.send(order)
        if "unbind-after-stop" not in sdk.lacks:
            assert (await sdk_rig.relay.control.wait_for(link.Unbind)).bind == sdk_rig.bind
        # The session goes on.
        await asyncio.to_thread(sdk_rig.program.forward, UPSTREAM)
        assert (await sdk_rig.relay.control.wait_for(link.Bind, 2)).session == sdk_rig.session
