"""Compiles what every byte of a tunnel passes into the wheel with mypyc, where a C compiler is at hand.

The modules are the same either way: what cannot be compiled runs as it is, only slower. An editable install stays
interpreted, so that what is edited is what runs; PORTICO_PURE=1 makes a wheel without compiled modules.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = (
    *(f"tunnel/{name}" for name in ("flow", "frames", "heartbeat", "session", "stream", "transport")),
    *(f"relay/{name}" for name in ("unanswered", "visitors")),
)
_SCRIPT = """
import sys
from setuptools import Distribution
from mypyc.build import mypycify
target, *modules = sys.argv[1:]
options = ["--config-file=", f"--cache-dir={target}/types", "--follow-imports=silent", "--ignore-missing-imports"]
extensions = mypycify([*options, *modules], opt_level="3", target_dir=target)
distribution = Distribution({"name": "core", "packages": [], "ext_modules": extensions})
command = distribution.get_command_obj("build_ext")
command.build_lib, command.build_temp = target + "/lib", target + "/temp"
distribution.run_command("build_ext")
"""


class CompiledCore(BuildHookInterface):
    """Adds the extension modules to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is written."""
        if self.target_name != "wheel" or version == "editable" or os.environ.get("PORTICO_PURE"):
            return
        self._directory = tempfile.TemporaryDirectory(prefix="portico-core-")
        modules = [f"portico/{name}.py" for name in MODULES]
        command = [sys.executable, "-c", _SCRIPT, self._directory.name, *modules]
        done = subprocess.run(command, cwd=Path(self.root, "src"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            self.app.display_warning(f"the tunnel's core stays interpreted: {reason[0]}")
            return
        library = Path(self._directory.name, "lib")
        built = [path for path in library.rglob("*") if path.suffix in (".so", ".pyd")]
        build_data["force_include"].update({str(path): path.relative_to(library).as_posix() for path in built})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is written."""
        if directory := getattr(self, "_directory", None):
            directory.cleanup()
