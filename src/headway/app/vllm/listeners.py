"""Who listens on a port. vLLM lets others share its port, so two servers on one would both seem to serve."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from headway.app.vllm.guard import is_living

PROC = Path("/proc")
LISTENING = "0A"
"""The state of a socket in the kernel's table."""


def others_listen(port: int, group: int) -> bool:
    """Whether a process outside a group of processes listens where the group does, or in its stead.

    Where that cannot be known, the answer is no.

    Parameters
    ----------
    port : int
        The port.
    group : int
        The id of the group.
    """
    ours = set(_sockets(group))
    found = list(_listening(port))
    addresses = {address for address, socket in found if socket in ours} or {address for address, _ in found}
    return bool(ours) and any(address in addresses and socket not in ours for address, socket in found)


def _listening(port: int) -> Iterator[tuple[str, str]]:
    """Yield the addresses and the names of the sockets that listen on a port."""
    for table in ("tcp", "tcp6"):
        try:
            rows = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[1], f"socket:[{fields[9]}]"


def _sockets(group: int) -> Iterator[str]:
    for process in PROC.glob("[0-9]*"):
        if is_living(process.name, group):
            for fd in _entries(process / "fd"):
                with contextlib.suppress(OSError):  # it has just been closed
                    yield os.readlink(fd)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
