"""A process that outlives its starter by a moment, to end a group of processes that the starter left behind.

Run as ``python guard.py GROUP GRACE_S``. It reads its standard input: a word means that all is well and it may go; an
end without a word means that the starter died. Then the group is asked to end, and killed when it does not. Nothing but
the standard library is imported, so that it costs little.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

PAUSE_S = 0.05


def end_group(group: int, grace_s: float) -> None:
    """Ask all processes of a group to end, and kill those that have not after a while."""
    if not lives(group):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
    if not gone(group, grace_s):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def gone(group: int, limit_s: float) -> bool:
    """Wait until a group has no living processes any more; says whether that came about in time."""
    end_s = time.monotonic() + limit_s
    while lives(group):
        if time.monotonic() >= end_s:
            return False
        time.sleep(PAUSE_S)
    return True


def lives(group: int) -> bool:
    """Whether a group has a living process. A dead one that nobody waits for, as in many containers, is none."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(is_living(name, group) for name in os.listdir("/proc") if name.isdigit())


def is_living(name: str, group: int) -> bool:
    """Whether a process, by its entry in /proc, is a living one of a group."""
    try:
        with open(f"/proc/{name}/stat") as stat:
            state, _, its_group = stat.read().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(its_group) == group and state not in "ZX"


def main() -> None:
    """Wait for a word."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not sys.stdin.buffer.read(1):
        end_group(int(sys.argv[1]), float(sys.argv[2]))


if __name__ == "__main__":
    main()
