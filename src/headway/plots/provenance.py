"""Where and with what something was run, in the words of a report's header."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version


def provenance(when: datetime | None = None, packages: tuple[str, ...] = ("headway", "numpy")) -> dict[str, str]:
    """Return facts for the header of a page: when, versions and machine.

    Parameters
    ----------
    when : datetime or None
        When it was run; None says nothing about it.
    packages : tuple of str
        Whose versions are told.
    """
    facts = {"When": when.strftime("%Y-%m-%d %H:%M %Z").strip()} if when else {}
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    facts["Versions"] = f"{versions}, Python {platform.python_version()}"
    facts["Machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
