"""The command line: `headway VERB ...`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the `headway` program."""
    from headway.app.cli.root import app  # late: importing this package must stay cheap

    app(prog_name="headway")
