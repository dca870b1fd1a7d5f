"""OpenSSH: `ssh -R` to an sshd of its own, on a free port, with keys of its own."""

import contextlib
import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.comparison import Named
from benchmarks.peers.build import library_path
from benchmarks.peers.tunnel import (
    Command,
    Contender,
    Forward,
    Program,
    Server,
    Setting,
    peer_server,
    ports,
    tcp_target,
)

_HOST = "benchmark"
_ACCOUNT = "agent"


class OpenSsh(Contender):
    """As it ships: ciphers, windows, no compression, no reconnecting."""

    needs = "OpenSSH"

    @property
    def named(self) -> Named:
        return Named("ssh -R", "peer", "OpenSSH's `ssh -N -R` to its `sshd`, with the ciphers that both prefer.")

    @contextlib.contextmanager
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Server]:
        """sshd, with all of its separation of privileges where this program is root's."""
        (bind,) = ports(1)
        address, directory = setting.place.server_address, setting.directory
        own_key, host_key = _key(directory / "agent"), _key(directory / "host")
        shutil.copy(own_key.with_suffix(".pub"), directory / "authorized_keys")
        known = directory / "known_hosts"
        known.write_text(f"{_HOST} {host_key.with_suffix('.pub').read_text()}")
        config = directory / "sshd_config"
        sshd = setting.programs["sshd"]
        with tempfile.TemporaryDirectory(prefix="portico-sshd-") as readable:
            # The keys that let the agent in are read by a user without rights.
            shutil.copy(directory / "authorized_keys", readable)
            Path(readable).chmod(0o755)
            config.write_text(server_config(address, bind, directory, Path(readable)))
            words: tuple[str, ...] = (str(sshd), "-D", "-e", "-f", str(config))
            user = getpass.getuser()
            if os.geteuid() == 0:
                words, user = (*_with_accounts(directory), *words), _ACCOUNT

            def agents(some: Sequence[Forward]) -> list[Command]:
                host, port = setting.place.dial(bind, address)
                ssh = (str(setting.programs["ssh"]), "-N", "-F", "none", "-p", str(port), "-i", str(own_key))
                return [Command((*ssh, *options(known), *remotes(some), f"{user}@{host}"))]

            with peer_server(Command(words, library_path(sshd)), setting, (address, bind)) as process:
                yield Program(process.pid, agents, tcp_target)


def _with_accounts(directory: Path) -> tuple[str, ...]:
    """A prefix that shows sshd the accounts that it wants in a mount namespace: the machine gets none."""
    accounts = directory / "passwd"
    accounts.write_text(
        Path("/etc/passwd").read_text()
        + f"sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n{_ACCOUNT}:x:65532:65534::/:/bin/sh\n"
    )
    shadow = directory / "shadow"
    shadow.write_text(f"sshd:*:19000::::::\n{_ACCOUNT}:*:19000::::::\n")
    script = (
        f"mount --bind {accounts} /etc/passwd && mount --bind {shadow} /etc/shadow && "
        'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
    )
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def _key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def server_config(address: str, port: int, keys: Path, readable: Path) -> str:
    """sshd_config; `keys`: where the host key is, `readable`: where that of the agent is."""
    return f"""\
ListenAddress {address}:{port}
HostKey {keys}/host
PidFile none
AuthorizedKeysFile {readable}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
MaxStartups 200
"""


def options(known_hosts: Path) -> list[str]:
    """What people have in their settings: whom to trust, and to end where a forward is refused."""
    pairs = {
        "UserKnownHostsFile": str(known_hosts),
        "HostKeyAlias": _HOST,
        "ExitOnForwardFailure": "yes",
        "IdentitiesOnly": "yes",
    }
    return [word for name, value in pairs.items() for word in ("-o", f"{name}={value}")]


def remotes(forwards: Sequence[Forward]) -> list[str]:
    """Arguments of ssh."""
    ends = [f"127.0.0.1:{forward.public}:127.0.0.1:{forward.local}" for forward in forwards]
    return [word for end in ends for word in ("-R", end)]
