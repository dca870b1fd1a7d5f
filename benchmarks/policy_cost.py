"""What a traffic policy costs Envoy, in instructions.

    python -m benchmarks.policy_cost [REQUESTS]

Prints instructions for a request on a kept HTTP/1.1 connection: of an endpoint without a policy, and of one with each
policy in turn. Counted by callgrind, as `benchmarks.envoy_cost` does and for its reasons; `make bench` has the
same question in processor time. Needs valgrind and a few minutes.
"""

import asyncio
import dataclasses
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.envoy_cost import Counted, Layer
from benchmarks.policies import RULES, refusals, rule
from benchmarks.service import small_answers
from kit.ports import free_port
from portico.edge.endpoint_policy import endpoint_policy
from portico.edge.node import write_script
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import Endpoint, EndpointUrl, HostPort, Scheme
from portico.translate.endpoints import endpoint_resources
from portico.translate.listeners import http_listener

REQUESTS: Final = 150
WARM: Final = 300
"""Requests before any are counted: LuaJIT compiles what it has run often."""

Phases = dict[str, list[dict[str, Any]]]


def phases(request: tuple[dict[str, Any], ...] = (), response: tuple[dict[str, Any], ...] = ()) -> Phases:
    """A policy of these rules."""
    return {"on_http_request": list(request), "on_http_response": list(response)}


POLICIES: Final[tuple[tuple[str, Phases], ...]] = (
    ("no policy", {}),
    *(
        (f"{count} rule{'s that refuse' if count > 1 else ' that refuses'} others", phases(refusals(count)))
        for count in RULES
    ),
    ("a header for the service", phases((rule("add-headers", headers={"x-host": "${req.host}"}),))),
    ("a header for the visitor", phases(response=(rule("add-headers", headers={"x-a": "b"}),))),
    (
        "the same with a value of the request",
        phases(
            (rule("set-vars", vars=[{"a": "${req.host}"}]),),
            (rule("add-headers", headers={"x-a": "${vars.a} ${req.url.path}"}),),
        ),
    ),
    ("basic-auth", phases((rule("basic-auth", credentials=["me:password1"], enforce=False),))),
)


def layer(number: int, service: int, directory: Path, policy: Phases) -> Layer:
    """A listener with one endpoint behind it that has this policy."""
    address, name = SocketAddress("127.0.0.1", free_port()), f"policy{number}.edge.test"
    frame = EdgeFrame(
        "edge.test",
        SocketAddress("127.0.0.1", 443),
        address,
        "127.0.0.1",
        (),
        "api.sock",
        "x-mark",
        policy_script=str(write_script(directory)),
    )
    text = endpoint_policy([policy], Scheme.HTTP).text
    served = Endpoint(EndpointUrl.parse(f"http://{name}"), (HostPort("127.0.0.1", service),), traffic_policy=text)
    listener = http_listener(frame, address)
    listener.body["name"] = name
    return Layer(address.port, name, [*endpoint_resources(served, frame), dataclasses.replace(listener, name=name)])


async def measure(count: int) -> None:
    """One line a policy."""
    with tempfile.TemporaryDirectory(prefix="pe") as folder, small_answers(Path(folder)) as service:
        counted = Counted(Path(folder))
        rig = counted.rig
        await rig.ads.start()
        await rig.envoy.start(timeout=300)
        costs: list[float] = []
        for number, (name, policy) in enumerate(POLICIES):
            one = layer(number, service.port, Path(folder), policy)
            await rig.ads.publish(one.resources, timeout=120)
            await asyncio.to_thread(one.ask, WARM)
            costs.append(await asyncio.to_thread(counted.cost, one, count))
            print(f"{name:40} {costs[-1]:9,.0f} {100 * (costs[-1] / costs[0] - 1):6.1f} %", flush=True)
        await rig.stop()


if __name__ == "__main__":
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing")
    logging.disable(logging.WARNING)
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS))
