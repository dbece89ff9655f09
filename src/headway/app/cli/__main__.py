"""`python -m headway.app.cli` is `headway`."""

from __future__ import annotations

from headway.app.cli import main

main()
