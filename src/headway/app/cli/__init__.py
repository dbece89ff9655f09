"""The command line: `headway VERB ...`."""

from __future__ import annotations

import io
import os
import sys


def main() -> None:
    """Run the command line; the entry point of the `headway` program."""
    from headway.app.cli.root import app  # late: importing this package must stay cheap

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ≤ shows a mark, and nothing breaks
    # Threads of torch that wait must not spin: on a busy machine that makes training fifteen times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    app(prog_name="headway")
