import pytest
from msgspec.structs import replace

from kit.agent_server import TOKEN, agent_server, until
from kit.proxies import proxy
from portico.agent.agent import Agent
from portico.agent.edge_address import EdgeAddress
from portico.agent.settings import SessionSettings
from portico.model.errors import CONNECT_FAILED, OPTION_INVALID, PorticoError

SETTINGS = SessionSettings(edge=EdgeAddress("localhost", 1), authtoken=TOKEN)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("credentials", [None, ("ann", "p:w d")])
async def test_the_edge_is_reached_through_a_proxy(scheme: str, credentials: tuple[str, str] | None) -> None:
    async with agent_server() as server, proxy(credentials) as between:
        place = f"{scheme}://{'ann:p%3Aw%20d@' if credentials else ''}127.0.0.1:{between.port}"
        edge = EdgeAddress.parse(server.address)
        agent = Agent(replace(SETTINGS, edge=edge, edge_ca_pem=server.ca, proxy_url=place))
        await agent.start()
        await until(lambda: server.auths)
        assert between.targets == [f"127.0.0.1:{edge.port}"]
        assert server.auths[0]["Extra"]["ProxyType"] == scheme
        await agent.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_refuses_is_named_without_the_password(scheme: str) -> None:
    async with proxy(("ann", "right")) as between:
        agent = Agent(replace(SETTINGS, proxy_url=f"{scheme}://ann:wrong@127.0.0.1:{between.port}"))
        with pytest.raises(PorticoError, match=f"the proxy at 127.0.0.1:{between.port}") as caught:
            await agent.start()
        assert caught.value.code is CONNECT_FAILED
        assert "wrong" not in str(caught.value)
        await agent.close()


async def test_a_proxy_that_is_not_there() -> None:
    agent = Agent(replace(SETTINGS, proxy_url="socks5://127.0.0.1:1"))
    with pytest.raises(PorticoError) as caught:
        await agent.start()
    assert caught.value.code is CONNECT_FAILED
    await agent.close()


@pytest.mark.parametrize("url", ["ftp://host:1", "http://host", "host:1", "http://:1", "http://h:99999", "http://[::1"])
def test_what_is_no_proxy_is_refused_at_once(url: str) -> None:
    with pytest.raises(PorticoError) as caught:
        Agent(replace(SETTINGS, proxy_url=url))
    assert caught.value.code is OPTION_INVALID
    assert url not in caught.value.message
