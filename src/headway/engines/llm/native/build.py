"""Load the C++ kernels: those that came with the wheel, or else built once per machine and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from headway.core.errors import HeadwayError

NAME = "headway_native"
NEEDED_CPU_FLAGS = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16", "avx512_vnni"})
_CSRC = Path(__file__).parent / "csrc"
_WARNINGS = ["-Wall", "-Wextra", "-Wno-maybe-uninitialized"]  # GCC 12 warns about its own intrinsics
_COMMON_FLAGS = ["-O3", "-mprefer-vector-width=512", "-fopenmp", "-std=c++20", *_WARNINGS]
_COMPILE_FLAGS = ["-march=native", *_COMMON_FLAGS]
# A wheel runs on every processor that has what the kernels need, and nothing more may be assumed of it.
_WHEEL_SETS = ("avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512bf16", "avx512vnni")
_WHEEL_FLAGS = [*(f"-m{name}" for name in _WHEEL_SETS), *_COMMON_FLAGS]
PREBUILT = Path(__file__).parent / "prebuilt"
"""Where a wheel brings the kernels, compiled for one version of Python and of torch."""


class CannotBuild(HeadwayError):
    """Why the C++ kernels cannot be had on this machine, in half a sentence."""


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets this processor reports, empty where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), frozenset())


def sources() -> list[Path]:
    """Return the C++ files and headers, in a fixed order."""
    return sorted([*_CSRC.glob("*.cpp"), *_CSRC.glob("*.h")])


def build_folder() -> Path:
    """Return the cache folder of exactly these sources, this torch and this processor."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "headway" / "native" / _digest(sys.version, *sorted(cpu_flags()), *_COMPILE_FLAGS)


def prebuilt() -> Path:
    """Return where a wheel would have the library of exactly these sources, this torch and this Python."""
    python = f"{sys.implementation.cache_tag}"
    return PREBUILT / f"{NAME}-{_digest(python, *_WHEEL_FLAGS)}.so"


def prebuild(folder: Path) -> Path:
    """Compile the kernels for a wheel in a scratch folder; returns the library, named as `prebuilt` expects it.

    Raises
    ------
    CannotBuild
        When no compiler is found.
    """
    _compile(folder, _WHEEL_FLAGS)
    return (folder / f"{NAME}.so").rename(folder / prebuilt().name)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in [torch.__version__, *parts]:
        digest.update(part.encode() + b"\0")
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def load() -> ModuleType:
    """Load the extension, building it first if neither a wheel brought it nor this machine has done so yet.

    Raises
    ------
    CannotBuild
        Where the processor lacks AVX-512 BF16, no compiler is found, or the build fails.
    """
    _check_processor()
    if not sources():
        raise CannotBuild("their sources are not installed")
    try:
        if prebuilt().exists():
            return _import(prebuilt())
        folder = build_folder()
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / f"{NAME}.so"
        ready = folder / "ready"  # a killed build leaves a library, but not this
        if not ready.exists():
            with _only_one_builder(folder):
                if not ready.exists():
                    _compile(folder, _COMPILE_FLAGS)
                    ready.touch()
        return _import(library)
    except (OSError, ImportError, RuntimeError) as error:
        raise CannotBuild(f"the build failed: {_last_line(error)}") from error


def _check_processor() -> None:
    missing = sorted(NEEDED_CPU_FLAGS - cpu_flags())
    if missing:
        raise CannotBuild(f"this processor lacks {', '.join(missing)}")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


@contextmanager
def _only_one_builder(folder: Path) -> Iterator[None]:
    with (folder / "builder.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "lock").unlink(missing_ok=True)  # torch's own lock file, left behind by a killed build
        yield


def _compile(folder: Path, flags: list[str]) -> None:
    # The tools of a virtual environment that was not activated are beside its interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for tool in (os.environ.get("CXX", "g++"), "ninja"):
        if shutil.which(tool, path=path) is None:
            raise CannotBuild(f"no {tool} was found")
    from torch.utils import cpp_extension

    before = os.environ.get("PATH", "")
    os.environ["PATH"] = path
    try:
        cpp_extension.load(
            name=NAME,
            sources=[str(path) for path in sources() if path.suffix == ".cpp"],
            extra_cflags=flags,
            extra_ldflags=["-fopenmp"],
            build_directory=str(folder),
            verbose=False,
        )
    finally:
        os.environ["PATH"] = before


def _import(library: Path) -> ModuleType:
    if NAME in sys.modules:
        return sys.modules[NAME]
    loader = importlib.machinery.ExtensionFileLoader(NAME, str(library))
    spec = importlib.util.spec_from_file_location(NAME, library, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[NAME] = module
    return module
