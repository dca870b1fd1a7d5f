"""Each file of tests/golden/translate holds an endpoint and what becomes of it.

`pytest tests/unit/translate --update-golden` writes the second half anew; the review is in the diff.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from portico.model.balancing import Balancing
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import (
    Address,
    AddressTls,
    ClientVerification,
    EdgeTls,
    Endpoint,
    EndpointUrl,
    HostPort,
    KeyPair,
    Networks,
    Pool,
    TlsVersion,
    UnixSocket,
)
from portico.model.limits import VisitorLimits
from portico.model.observability import AccessLog, LogForm, Tracing
from portico.model.route import Route
from portico.translate.endpoints import endpoint_resources
from portico.translate.sni import SniTable, filter_chain_matcher

GOLDEN = Path(__file__).parents[2] / "golden" / "translate"
FILES = sorted(GOLDEN.rglob("*.yaml"))


def frame(domain: str = "edge.example", minimum_tls: str = "1.2") -> EdgeFrame:
    return EdgeFrame(
        domain=domain,
        https=SocketAddress("0.0.0.0", 443),
        http=SocketAddress("0.0.0.0", 80),
        tcp_host="0.0.0.0",
        agent_sockets=("/run/portico/r0/agents.sock",),
        api_socket="/run/portico/api.sock",
        mark_header="x-mark",
        minimum_tls=TlsVersion(minimum_tls),
        system_authorities="/etc/ssl/certs/ca-certificates.crt",
    )


def read_endpoint(fields: dict[str, Any]) -> Endpoint:
    fields = dict(fields)
    url = EndpointUrl.parse(fields.pop("url"))
    addresses = tuple(read_address(each) for each in fields.pop("addresses", []))
    tls = read_tls(fields.pop("tls")) if "tls" in fields else None
    if "networks" in fields:
        fields["networks"] = Networks(**{key: tuple(cidrs) for key, cidrs in fields["networks"].items()})
    if "routes" in fields:
        fields["routes"] = msgspec.convert(fields["routes"], tuple[Route, ...])
        fields["pools"] = tuple(read_pool(each) for each in fields["pools"])
    if "balancing" in fields:
        fields["balancing"] = msgspec.convert(fields["balancing"], Balancing)
    return Endpoint(url, addresses, tls, **fields)


def read_pool(fields: dict[str, Any]) -> Pool:
    return Pool(**{**fields, "addresses": tuple(read_address(each) for each in fields["addresses"])})


def read_frame(fields: dict[str, Any]) -> dict[str, Any]:
    readers: dict[str, Callable[[dict[str, Any]], object]] = {
        "access_log": lambda log: AccessLog(**{**log, "form": LogForm(log["form"])}),
        "tracing": lambda tracing: Tracing(**tracing),
        "limits": lambda limits: VisitorLimits(**limits),
    }
    return {key: readers[key](value) if key in readers else value for key, value in fields.items()}


def read_address(fields: dict[str, Any]) -> Address:
    if "path" in fields:
        return UnixSocket(**fields)
    return HostPort(**{**fields, "tls": AddressTls(**fields["tls"]) if "tls" in fields else None})


def read_tls(fields: dict[str, Any]) -> EdgeTls:
    readers = {
        "key_pair": lambda pair: KeyPair(**pair),
        "client_authorities": str,
        "revocations": str,
        "verification": ClientVerification,
        "minimum": TlsVersion,
        "maximum": TlsVersion,
    }
    return EdgeTls(**{key: readers[key](value) for key, value in fields.items()})


def shortened(value: Any) -> Any:
    """Scripts and pages have tests of their own; here their first line stands for them."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [shortened(item) for item in value]
        return (
            items if len(items) < 5 or any(item != items[0] for item in items) else [items[0], f"… {len(items)} such"]
        )
    return f"{value.partition(chr(10))[0]} …" if isinstance(value, str) and len(value) > 200 else value


def translated(case: dict[str, Any]) -> Any:
    edge = frame(case.get("domain", "edge.example"), case.get("minimum_tls", "1.2"))
    edge = replace(edge, **read_frame(case.get("frame", {})))
    endpoints = [read_endpoint(fields) for fields in case["endpoints"]]
    table = SniTable()
    for endpoint in endpoints:
        table = table.with_endpoint(endpoint, edge)
    if case.get("show") == "matcher":
        return shortened(filter_chain_matcher(table, edge))
    resources = [resource for endpoint in endpoints for resource in endpoint_resources(endpoint, edge)]
    return [
        {"type": resource.type_url.rpartition(".")[2], "name": resource.name, "body": shortened(resource.body)}
        for resource in resources
    ]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(GOLDEN)))
def test_golden(file: Path, request: pytest.FixtureRequest) -> None:
    case = yaml.safe_load(file.read_text())
    result = translated(case)
    if request.config.getoption("--update-golden"):
        case["result"] = result
        file.write_text(yaml.dump(case, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
    assert result == case.get("result")


def test_there_are_cases() -> None:
    assert len(FILES) > 10
