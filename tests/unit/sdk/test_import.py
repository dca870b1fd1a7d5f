"""What `import portico` and the SDK bring into a program."""

import subprocess
import sys

HEAVY = {
    "aiohttp", "asyncssh", "click", "cryptography", "envoy", "fastapi", "google", "grpc", "opentelemetry", "pydantic",
    "rich", "sqlalchemy", "starlette", "uvicorn", "yaml",
}  # fmt: skip


def loaded_after(statement: str) -> set[str]:
    command = [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_next_to_nothing() -> None:
    extra = loaded_after("import portico") - loaded_after("pass")
    assert not HEAVY & extra
    assert not {"asyncio", "ssl", "socket", "threading", "logging", "msgspec"} & extra
    assert {name for name in extra if name.startswith("portico")} == {"portico", "portico.version"}


def test_using_the_sdk_loads_no_server_library() -> None:
    modules = loaded_after("import portico\nportico.forward, portico.listen, portico.Listener")
    assert not HEAVY & modules


def test_every_public_name_is_there() -> None:
    statement = "import portico\nfor name in portico.__all__: getattr(portico, name)\nfrom portico import *"
    assert loaded_after(statement)
    assert loaded_after("import portico\nassert not hasattr(portico, 'nothing')\nassert 'forward' in dir(portico)")
