"""The music service on this machine: an edge, three services on five agents, one public name. Ctrl-C ends all of it.

    python examples/music/start.py [--issuer URL --client-id ID --client-secret SECRET [--house @example.com]]

Without a provider of identities people have a password, which is printed.
"""

import argparse
import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from api import Api
from programs import key_of, published_keys, token

HERE = Path(__file__).parent
PORTICO = (sys.executable, "-m", "portico.cli.main")
NAME = "music.localhost"
MACHINES = {
    "web": "web",
    "playlists": "playlists",
    "search-1": "search",
    "search-2": "search",
    "search-3": "search",
}
"""Which service each has. A service is as large as there are machines with it."""


@dataclass(frozen=True)
class Machine:
    """One in a private network: a service on its loopback, and an agent that dials out. Nothing dials in."""

    name: str
    directory: Path
    edge: Mapping[str, str]
    """Where the agent finds the edge: its environment."""
    inside: Sequence[str] = ()
    """The command that runs another in this machine's network; none where that is ours."""

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start both and wait until they serve; yields the agent."""
        kind = MACHINES[self.name]
        with self._started("service", sys.executable, str(HERE / f"{kind}.py"), self.name) as (_, served):
            port = _line(served, "")
            flags = ("--url", f"https://{kind}.internal", "--binding", "internal", "--pooling-enabled")
            command = (*PORTICO, "http", f"127.0.0.1:{port}", *flags, "--log", "stdout", "--log-format", "json")
            with self._started("agent", *command) as (agent, told):
                _line(told, '"url"')
                yield agent

    @contextlib.contextmanager
    def _started(self, part: str, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        told = self.directory / f"{self.name}-{part}.log"
        environment = {**os.environ, **self.edge}
        with told.open("wb") as out:
            process = subprocess.Popen([*self.inside, *command], stdout=out, stderr=out, env=environment)
        try:
            yield process, told
        finally:
            process.kill()
            process.wait()


def _line(file: Path, word: str) -> str:
    """The first whole line with this word, once it is there."""
    for _ in range(600):
        for line in file.read_text().splitlines(keepends=True):
            if word in line and line.endswith("\n"):
                return line.strip()
        time.sleep(0.1)
    raise SystemExit(f"{file.name} has no {word or 'line'}: {file.read_text()}")


def policy(*, provider: bool) -> dict[str, Any]:
    """policy.yml; without a provider of identities people have a password instead."""
    written: dict[str, Any] = yaml.safe_load((HERE / "policy.yml").read_text())
    if not provider:
        by_name = {rule["name"]: rule for rule in written["on_http_request"]}
        credentials = ["ann:${secrets.get('music', 'password')}"]
        by_name["people sign in"]["actions"] = [
            {"type": "basic-auth", "config": {"credentials": credentials, "realm": "music"}},
            {"type": "add-headers", "config": {"headers": {"music-person": "ann"}}},
        ]
        written["on_http_request"].remove(by_name["people of this house"])
    return written


def publish(api: Api, name: str, known: Mapping[str, str], rules: Mapping[str, Any]) -> list[str]:
    """Keep the secrets, and put the public name up; ids of its two endpoints."""
    vault = api("POST", "/vaults", name="music")["id"]
    for word, value in known.items():
        api("POST", "/vault_secrets", vault_id=vault, name=word, value=value)
    text = yaml.safe_dump(dict(rules), sort_keys=False)
    urls = (f"https://{name}", f"https://api.{name}")
    return [api("POST", "/endpoints", url=url, type="cloud", traffic_policy=text)["id"] for url in urls]


@contextlib.contextmanager
def _edge(directory: Path) -> Iterator[int]:
    """`portico edge` on free ports; yields that of https. The one private address that policies may ask is ours."""
    command = [*PORTICO, "edge", "--data-dir", str(directory), "--policy-networks", "127.0.0.1/32"]
    for address in ("--https-addr", "--http-addr", "--ssh-addr", "--admin-addr"):
        command += [address, "127.0.0.1:0"]
    command += ["--log-level", "warning", "--drain-seconds", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    if not ready.startswith("ready "):
        sys.exit(process.wait() or 1)
    try:
        yield int(dict(word.split("=", 1) for word in ready.split()[1:])["https"].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--issuer", metavar="URL", help="an OpenID provider")
    parser.add_argument("--client-id", metavar="ID", default="music", help="of your application there")
    parser.add_argument("--client-secret", metavar="SECRET", default="", help="of your application there")
    parser.add_argument("--house", metavar="@DOMAIN", default="@example.com", help="how addresses of your people end")
    options = parser.parse_args()
    if options.issuer and not options.client_secret:
        parser.error("--issuer needs --client-id and --client-secret")
    return options


def _show(home: Path, port: int, endpoint: str, password: str) -> None:
    url, ca = f"https://{NAME}:{port}", home / "edge" / "ca.pem"
    words = {
        "URL": url,
        "API": f"https://api.{NAME}:{port}",
        "ENDPOINT": endpoint,
        "PERSON": f"ann:{password}" if password else "",
        "TOKEN": (home / "token").read_text(),
        "LOGS": str(home),
        "CURL_CA_BUNDLE": str(ca),
        "PORTICO_API_KEY": (home / "edge" / "api-key").read_text().strip(),
        "PORTICO_AUTHTOKEN": (home / "edge" / "authtoken").read_text().strip(),
        "PORTICO_CONNECT_URL": f"localhost:{port}",
        "PORTICO_CONNECT_CAS": str(ca),
    }
    file = home / "words"
    file.touch(0o600)
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in words.items()))
    print(f"\n  people:    {url}  {f'as ann, with {password}' if password else 'by your provider'}")
    if not password:
        print(f"             its callback: {url}/.portico/oauth/callback")
    print(f"  try it:    . {file}")
    print("             curl -u $PERSON $URL/" if password else "             a browser, at $URL")
    print("  next:      README.md in this folder has a command for everything that this shows")
    print("  stop:      Ctrl-C\n", flush=True)


def main() -> None:
    """Bring everything up, say where, and wait."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portico-music-")))
        key = key_of(home / "programs.key")
        (home / "token").write_text(token(key, "radio", "write"))
        password = "" if options.issuer else secrets.token_urlsafe(12)
        known = {"keys": stack.enter_context(published_keys(key)), "house": options.house}
        if options.issuer:
            provider = {"issuer": options.issuer, "client_id": options.client_id}
            known |= {**provider, "client_secret": options.client_secret}
        else:
            known["password"] = password
        port, data = stack.enter_context(_edge(home / "edge")), home / "edge"
        address = {"PORTICO_CONNECT_URL": f"localhost:{port}", "PORTICO_CONNECT_CAS": str(data / "ca.pem")}
        address["PORTICO_AUTHTOKEN"] = (data / "authtoken").read_text().strip()
        for name in MACHINES:
            stack.enter_context(Machine(name, home, address).running())
        api = Api(port, (data / "api-key").read_text().strip(), data / "ca.pem")
        endpoint, _ = publish(api, NAME, known, policy(provider=bool(options.issuer)))
        _show(home, port, endpoint, password)
        signal.pause()


if __name__ == "__main__":
    main()
