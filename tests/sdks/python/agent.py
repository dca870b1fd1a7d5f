"""The official Python SDK as a program that obeys its standard input (the language is told in kit/sdk_program.py)."""

import asyncio
import json
import sys
from typing import Any

import ngrok

commands: list[str] = []


def builder(target: dict[str, str]) -> Any:
    session = ngrok.SessionBuilder().authtoken(target["authtoken"]).server_addr(target["server"])
    session = session.root_cas(target["ca"]).handle_stop_command(lambda: commands.append("stop"))
    session = session.handle_restart_command(lambda: commands.append("restart"))
    return session.handle_update_command(lambda version, permit_major_version: commands.append(f"update {version}"))


def endpoint(session: Any, options: dict[str, Any]) -> Any:
    proto = options.get("proto", "http")
    if proto == "labeled":
        built = session.labeled_listener()
        for name, value in options["labels"].items():
            built = built.label(name, value)
    else:
        built = {"http": session.http_endpoint, "tcp": session.tcp_endpoint, "tls": session.tls_endpoint}[proto]()
    for name in ("domain", "scheme", "proxy_proto", "app_protocol", "verify_upstream_tls", "traffic_policy"):
        if name in options:
            built = getattr(built, name)(options[name])
    if "address" in options:
        built = built.remote_addr(options["address"])
    if "host_header" in options:
        built = built.request_header("host", options["host_header"])
    for method, *arguments in options.get("calls", ()):
        built = getattr(built, method)(*arguments)
    return with_tls(built, options)


def with_tls(built: Any, options: dict[str, Any]) -> Any:
    if "crt" in options:
        built = built.termination(bytearray(options["crt"].encode()), bytearray(options["key"].encode()))
    if options.get("automatic"):
        built = built.termination(bytearray(), bytearray())
    if "mutual_tls_cas" in options:
        built = built.mutual_tlsca(bytearray(options["mutual_tls_cas"].encode()))
    return built


async def main() -> None:
    session: Any = None
    listeners: list[Any] = []

    async def forward(options: dict[str, Any]) -> list[Any]:
        nonlocal session
        session = session or await builder(json.loads(sys.argv[1])).connect()
        listener = await endpoint(session, options).listen_and_forward(options["to"])
        listeners.append(listener)
        return [len(listeners) - 1, "" if options.get("proto") == "labeled" else listener.url()]

    async def close(number: int) -> None:
        await listeners[number].close()

    async def seen() -> list[str]:
        return commands

    verbs: dict[str, Any] = {"forward": forward, "close": close, "commands": seen}
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, *arguments = json.loads(line)
        try:
            answer = {"result": await verbs[verb](*arguments)}
        except ValueError as error:
            answer = {"error": repr(error), "code": next((text for text in error.args if "ERR_NGROK" in text), "")}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
