"""What kind of machine this is, in the words a result is kept with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "avx512_vnni": "AVX-512 VNNI",
             "amx_bf16": "AMX BF16", "asimd": "NEON"}  # fmt: skip
_LIMITS = Path(__file__).with_name("limits.py")


def facts(threads: int) -> dict[str, Any]:
    """Describe the processor, and how busy it is with other work."""
    about = _cpuinfo()
    flags = set((about.get("flags") or about.get("Features") or "").split())
    features = [word for flag, word in _FEATURES.items() if flag in flags]
    name = about.get("model name") or platform.processor() or platform.machine()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} vCPU {name}, {', '.join(features) or 'no vector features known'}",
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0],
        "commit": _commit(),
    }


def limits(python: str, threads: int, env: dict[str, str]) -> dict[str, float]:
    """Measure memory and arithmetic peaks in a process of their own."""
    out = subprocess.run(
        [python, str(_LIMITS), str(threads)], check=True, text=True, stdout=subprocess.PIPE, stderr=sys.stderr, env=env
    ).stdout
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def _commit() -> str:
    """Return the commit that is measured, with a ``+`` where files differ from it; empty outside of a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, text=True, capture_output=True)
        changed = subprocess.run([*git, "status", "--porcelain"], check=True, text=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout else "")


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
