"""The functions of the package: forward and its like."""

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Literal, Unpack

from portico.agent.upstream import Upstream, parse_upstream
from portico.model.errors import OPTION_INVALID, PorticoError
from portico.sdk import sessions
from portico.sdk.listener import Listener, ListeningSocket
from portico.sdk.options import ForwardOptions, check_options
from portico.sdk.requests import session_settings, terminated, upstream_tls
from portico.sdk.sessions import Wish

Proto = Literal["http", "tcp", "tls", "labeled"]

_DEFAULT_PORT = 80
_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO, "DEBUG": logging.DEBUG, "TRACE": 5}


def forward(addr: str | int | None = None, proto: Proto | None = None, **options: Unpack[ForwardOptions]) -> Listener:
    """Give a local service a public URL.

    `addr` is a port, `host:port`, `http(s)://host[:port]`, `unix:/path` or `file:///directory`; port 80 without it.
    `proto` is http (the default), tcp, tls or labeled. The options are ngrok's; see `portico.sdk.options`.

    Blocks until the URL works and returns its Listener. Called inside a running event loop it returns an awaitable of
    the Listener instead. Raises PorticoError: of the options, of the connection, or what the edge answers.
    """
    proto, checked = _checked(proto, options)
    target = f"localhost:{_DEFAULT_PORT}" if addr is None else addr
    if isinstance(target, bool) or not isinstance(target, str | int):
        raise PorticoError(OPTION_INVALID, "addr: a port or an address is expected")
    upstream = parse_upstream(target, http=proto == "http")
    return _open(proto, checked, upstream, None)


connect = forward


def listen(
    server: object = None,
    listener: Listener | None = None,
    proto: Proto | None = None,
    **options: Unpack[ForwardOptions],
) -> Listener:
    """A public URL whose visitors arrive on a socket of this process.

    The Listener has `socket` and `fileno()` for servers that take one (`uvicorn.run(fd=…)`), `accept()`, and yields
    asyncio streams in `async for`. With `server` (anything with a `server_address`, such as http.server.HTTPServer),
    visitors are sent to that server instead; with `listener` as well, that listener's visitors are.
    Blocks or returns an awaitable as `forward` does.
    """
    address = None if server is None else _server_address(server)
    if listener is not None:
        if address is not None:
            listener.forward(address)
        return listener
    proto, checked = _checked(proto, options)
    if address is not None:
        return _open(proto, checked, parse_upstream(address, http=proto == "http"), None)
    accepting = ListeningSocket()
    try:
        return _open(proto, checked, accepting.upstream, accepting)
    except BaseException:
        accepting.close()
        raise


def disconnect(url: str | None = None) -> Awaitable[None]:
    """Take the endpoint of this URL offline, or all endpoints; awaitable inside a running event loop."""
    open_sessions = sessions.current()
    return open_sessions.runtime.do(open_sessions.disconnect(url))


def kill() -> Awaitable[None]:
    """Close all listeners and sessions; awaitable inside a running event loop."""
    open_sessions = sessions.current()
    return open_sessions.runtime.do(open_sessions.close())


def get_listeners() -> list[Listener]:
    """The listeners that are online, in the order in which they came."""
    return sessions.current().online()


def set_auth_token(authtoken: str) -> None:
    """The authtoken for sessions that are given none."""
    sessions.default_authtoken = authtoken


def log_level(level: str = "INFO") -> None:
    """How much Portico tells Python's logging: ERROR, WARN, INFO, DEBUG or TRACE.

    Raises PorticoError(OPTION_INVALID).
    """
    if level.upper() not in _LEVELS:
        raise PorticoError(OPTION_INVALID, f"level: {level!r} is not one of {', '.join(_LEVELS)}")
    logging.getLogger("portico").setLevel(_LEVELS[level.upper()])


def _checked(proto: Proto | None, options: Mapping[str, object]) -> tuple[Proto, dict[str, Any]]:
    url = str(options.get("url") or "")
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    implied: Proto = "tcp" if scheme == "tcp" else "tls" if scheme == "tls" else "http"
    if proto is not None and scheme and proto != implied:
        raise PorticoError(OPTION_INVALID, f"option url: {url!r} is not an address of a {proto} endpoint")
    chosen = proto or implied
    return chosen, check_options(options, chosen)


def _server_address(server: object) -> str:
    address = getattr(server, "server_address", None)
    if isinstance(address, bytes):
        address = address.decode()
    if isinstance(address, str) and address:
        return f"unix:{address}"
    if isinstance(address, tuple) and len(address) >= 2 and isinstance(address[0], str):
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(address[0], address[0])  # noqa: S104
        return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    raise PorticoError(OPTION_INVALID, "server: an object with a server_address is expected")


def _open(proto: Proto, options: dict[str, Any], upstream: Upstream, accepting: ListeningSocket | None) -> Listener:
    settings = session_settings(options, sessions.default_authtoken)
    here, request = terminated(options, proto, "" if accepting else str(upstream))
    tls = upstream_tls(options)
    if not upstream.uses_tls:
        tls.refuse_without_tls(str(upstream))
    wish = Wish(
        settings=settings,
        request=request,
        upstream=upstream,
        upstream_tls=tls,
        agent_tls=here,
        own_session=options.get("force_new_session", False),
        accepting=accepting,
    )
    open_sessions = sessions.current()
    return open_sessions.runtime.run(open_sessions.open(wish))
