"""Every flag of ngrok's agent is understood, in each spelling, and reaches the model."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from portico.cli.config.models import Tunnel
from portico.cli.flags import FLAGS, FlagCommand, Kind, deprecations, endpoint_options, flags_of, given

# From ngrok's CLI reference, https://ngrok.com/docs/agent/cli
_BOTH = """--authtoken --binding --cidr-allow --cidr-deny --config --description --metadata --name --policy-file
--pooling-enabled --proxy-proto --region --traffic-policy-file --traffic-policy-url --upstream-proxy-protocol --url"""
NGROK = {
    "http": f"""{_BOTH} --app-protocol --basic-auth --circuit-breaker --compression --domain --host-header --hostname
    --inspect --mutual-tls-cas --oauth --oauth-allow-domain --oauth-allow-email --oauth-client-id --oauth-client-secret
    --oauth-scope --oidc --oidc-client-id --oidc-client-secret --oidc-scope --request-header-add --request-header-remove
    --response-header-add --response-header-remove --scheme --subdomain --ua-filter-allow --ua-filter-deny
    --upstream-protocol --upstream-tls-verify --upstream-tls-verify-cas --verify-webhook --verify-webhook-secret
    --websocket-tcp-converter""",
    "tls": f"""{_BOTH} --crt --domain --hostname --key --mutual-tls-cas --subdomain --terminate-at --upstream-tls-verify
    --upstream-tls-verify-cas""",
    "tcp": f"{_BOTH} --remote-addr",
}


@pytest.mark.parametrize("kind", NGROK)
def test_all_of_ngroks_flags_are_there(kind: str) -> None:
    from portico.cli import forward

    command: click.Command = getattr(forward, kind)
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(NGROK[kind].split()) <= known


def test_flags_name_keys_of_the_model_and_are_declared_once() -> None:
    for kind in NGROK:
        names = [flag.name for flag in flags_of(kind)]
        assert len(names) == len(set(names))
    for flag in FLAGS:
        assert not flag.key or flag.key.split(".")[0] in Tunnel.known


def parsed(kind: str, *arguments: str) -> dict[str, Any]:
    """What the flags of one command line say."""
    taken: dict[str, Any] = {}

    @click.command(cls=FlagCommand)
    @click.argument("upstream")
    @endpoint_options(kind)
    def command(**parameters: Any) -> None:
        taken["warnings"] = list(deprecations(kind, parameters))
        taken.update(given(kind, parameters), rest=parameters)

    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return taken


@pytest.mark.parametrize(
    "arguments",
    [
        ["80", "--compression", "--url", "a.example"],
        ["--compression", "80", "--url=a.example"],
        ["--compression=true", "-url", "a.example", "80"],
        ["-compression", "-url=a.example", "80"],
        ["--url", "a.example", "--compression", "--", "80"],
    ],
)
def test_spellings(arguments: list[str]) -> None:
    said = parsed("http", *arguments)
    assert (said["compression"], said["url"], said["rest"]) == ("true", "a.example", {"upstream": "80"})


def test_a_value_may_look_like_a_flag() -> None:
    said = parsed("http", "80", "--metadata", "-url", "--description", "--compression")
    assert (said["metadata"], said["description"]) == ("-url", "--compression")


def test_lists_with_commas_and_without() -> None:
    said = parsed("http", "80", "--oauth", "google", "--oauth-allow-domain", "a,b", "--oauth-allow-domain", " c ")
    assert said["oauth"] == {"provider": "google", "allow_domains": ("a", "b", "c")}
    said = parsed("http", "80", "--request-header-add", "x: a,b", "--request-header-add", "y: c")
    assert said["request_header"] == {"add": ("x: a,b", "y: c")}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.instead], ids=lambda flag: flag.name)
def test_deprecated_flags_warn_and_are_hidden(flag: Any) -> None:
    kind = sorted(flag.kinds)[0]
    said = parsed(kind, "80", flag.name if flag.kind is Kind.SWITCH else f"{flag.name}=x")
    assert said["warnings"] == [f"{flag.name} is deprecated; {flag.instead}"]
    section, _, last = flag.key.rpartition(".")
    assert not flag.key or last in (said[section] if section else said)


def test_a_list_of_nothing_says_nothing() -> None:
    assert parsed("http", "80")["rest"] == {"upstream": "80"}
