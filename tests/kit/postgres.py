"""A real PostgreSQL for tests: its own data directory and port, ended with the test. It refuses to run as root."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kit.polling import eventually
from kit.ports import free_port

both_databases = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
"""For tests whose fixtures take `database`."""
PASSWORD = "a secret/of:the@database"
_SETTINGS = {
    "fsync": "off",  # nothing of it survives the tests
    "max_connections": "60",
    "shared_buffers": "16MB",
    "timezone": "Europe/Madrid",  # what is told in local time is an error
}


@dataclass
class Postgres:
    """A running server."""

    data: Path
    port: int
    user: str | None
    """The account that it runs as; None where that is our own."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, name: str, *, password: str = PASSWORD, user: str = "postgres") -> str:
        """Of one of its databases."""
        written = "".join(f"%{byte:02X}" for byte in password.encode())
        return f"postgresql://{user}:{written}@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """An empty database; its URL."""
        name = f"portico_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, statement: str, name: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the server's superuser; its rows."""
        import psycopg

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [_program("postgres"), "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.data.parent / "postgres.log").open("ab"),
            user=self.user,
            group=self.user and pwd.getpwnam(self.user).pw_gid,
            extra_groups=[] if self.user else None,
            cwd=self.data.parent,
        )
        eventually(lambda: self.run("SELECT 1"))

    def stop(self) -> None:
        """End it at once, in the middle of whatever it does (an immediate shutdown)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(60)
            self.process = None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests; each takes a database of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str | None:
    """URL of a new database; None for a file, unless the tests are marked with `both_databases`."""
    return new_database(request)


def new_database(request: pytest.FixtureRequest) -> str | None:
    """URL of a new database where the fixture's parameter is `postgres`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for some tests; skips them where there is none on this machine."""
    initdb, _ = _program("initdb"), _program("postgres")
    user = _account() if os.geteuid() == 0 else None
    # pytest's own directories are closed to other accounts.
    with tempfile.TemporaryDirectory(prefix="portico-postgres-") as directory:
        base = Path(directory)
        password = base / "password"
        password.write_text(PASSWORD + "\n")
        if user is not None:
            for path in (base, password):
                shutil.chown(path, user)
        subprocess.run(
            [
                *(initdb, "-D", str(base / "data"), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(password)),
                *("--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            group=user and pwd.getpwnam(user).pw_gid,
            extra_groups=[] if user else None,
            cwd=base,
        )
        server = Postgres(base / "data", free_port(), user)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _program(name: str) -> str:
    """The newest that is installed: Debian keeps each version in a directory of its own, outside of PATH."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(beside[-1]) if beside else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} (PostgreSQL) is not installed")
    return found


def _account() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("PostgreSQL does not run as root, and there is no other account")
