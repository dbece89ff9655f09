"""Put the compiled kernels into a wheel, when asked to with ``HEADWAY_WHEEL_NATIVE=1``; other builds stay pure Python.

Such a wheel is for one version of Python and one of torch, which must be installed where it is built: `make wheel`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CODE = (
    "import sys, pathlib; from headway.engines.llm.native import build; "
    "print(build.prebuild(pathlib.Path(sys.argv[1])))"
)


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles before the wheel is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling what to take along and that the wheel is not for every platform."""
        if version == "editable" or os.environ.get("HEADWAY_WHEEL_NATIVE") != "1":
            return
        self._scratch = tempfile.TemporaryDirectory()
        source = str(Path(self.root) / "src")
        environment = {**os.environ, "PYTHONPATH": source}
        command = [sys.executable, "-c", CODE, self._scratch.name]
        done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
        library = Path(done.stdout.strip().splitlines()[-1])
        build_data["force_include"][str(library)] = f"headway/engines/llm/native/prebuilt/{library.name}"
        copies = Path(self._scratch.name) / "compiled"
        command = [sys.executable, str(Path(self.root) / "tools" / "compile.py"), "--into", str(copies)]
        done = subprocess.run([*command, "--print-key"], check=True, env=environment, stdout=subprocess.PIPE, text=True)
        key = done.stdout.strip().splitlines()[-1]
        for file in copies.rglob("*.*"):
            build_data["force_include"][str(file)] = f"headway/core/prebuilt/{key}/{file.relative_to(copies)}"
        build_data["force_include"][str(copies / "ready")] = f"headway/core/prebuilt/{key}/ready"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Forget the scratch folder."""
        del version, build_data, artifact_path
        if hasattr(self, "_scratch"):
            self._scratch.cleanup()
