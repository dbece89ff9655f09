"""Who used the processors meanwhile: each role of the servers, ourselves, and anybody else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROLES = {"VLLM::EngineCor": "scheduler", "VLLM::Worker": "model"}
"""What vLLM calls its processes, as the system cuts it off; whatever else is in the group serves HTTP."""


class Watch:
    """Adds up processor seconds from its making on.

    Parameters
    ----------
    groups : iterable of int
        The process groups of the servers.
    """

    def __init__(self, groups: Iterable[int]) -> None:
        self._groups = frozenset(groups)
        self._busy_s, self._all_s = _machine()
        self._own_s = self._used()

    def found(self) -> dict[str, float]:
        """Return seconds by role, and the share of all processors that something else took."""
        busy_s, all_s = _machine()
        own_s = self._used()
        own_s.subtract(self._own_s)
        others_s = busy_s - self._busy_s - sum(own_s.values())
        return {
            **{f"{role}_cpu_s": round(seconds, 2) for role, seconds in sorted(own_s.items())},
            "others_busy_frac": round(max(0.0, others_s) / max(all_s - self._all_s, 1e-9), 4),
        }

    def _used(self) -> Counter[str]:
        times, used = os.times(), Counter[str]()
        used["client"] = times.user + times.system  # type: ignore[assignment]  # a Counter of floats counts well
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue  # it has ended
            name, _, rest = text.partition(" (")[2].rpartition(") ")
            fields = rest.split()
            if int(fields[2]) in self._groups:
                ticks = int(fields[11]) + int(fields[12])
                used[ROLES.get(name, "http")] += ticks / os.sysconf("SC_CLK_TCK")  # type: ignore[assignment]
        return used


def _machine() -> tuple[float, float]:
    """Return processor seconds of the machine: those that were busy, and all there were."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    per_s, idle = os.sysconf("SC_CLK_TCK"), ticks[3] + ticks[4]
    return (sum(ticks) - idle) / per_s, sum(ticks) / per_s
