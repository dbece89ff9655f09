"""Where a project keeps its policies and tests: Headway's own checkout, or somebody's package with plug-ins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from headway.core.catalogue import GROUP
from headway.core.errors import ConfigError
from headway.core.parameters import read_toml


class Announced(Struct, frozen=True):
    """What was written so that Headway finds the policies, and what is still to do."""

    files: list[Path]
    steps: list[str]


class Project(Protocol):
    """A place for mechanisms."""

    def code(self, family: str) -> Path:
        """Return the folder of the mechanisms' files and of their catalogue."""

    def package(self, family: str) -> str:
        """Return that folder's import name."""

    def test(self, family: str, name: str) -> Path:
        """Return the file of a mechanism's test."""

    def announce(self, family: str) -> Announced:
        """Make Headway find the catalogue."""


class Checkout:
    """Headway's own source tree."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def code(self, family: str) -> Path:
        """``src/headway/policies/FAMILY``."""
        return self.root / "src" / "headway" / "policies" / family

    def package(self, family: str) -> str:
        """``headway.policies.FAMILY``."""
        return f"headway.policies.{family}"

    def test(self, family: str, name: str) -> Path:
        """``tests/policies/FAMILY/test_NAME.py``."""
        return self.root / "tests" / "policies" / family / f"test_{name}.py"

    def announce(self, family: str) -> Announced:  # noqa: ARG002
        """Nothing to do: families are found where they are."""
        return Announced([], [])


class PluginProject:
    """Somebody's own package, whose policies reach Headway through an entry point."""

    def __init__(self, root: Path, package: str) -> None:
        self.root = root
        self._package = package
        in_src = (root / "src").is_dir() or not (root / package).is_dir()
        self._home = (root / "src" if in_src else root) / package

    def code(self, family: str) -> Path:
        """``src/PACKAGE/policies/FAMILY``."""
        return self._home / "policies" / family

    def package(self, family: str) -> str:
        """``PACKAGE.policies.FAMILY``."""
        return f"{self._package}.policies.{family}"

    def test(self, family: str, name: str) -> Path:
        """``tests/policies/FAMILY/test_NAME.py``."""
        return self.root / "tests" / "policies" / family / f"test_{name}.py"

    def announce(self, family: str) -> Announced:
        """Make the folders packages and add the entry point to ``pyproject.toml``."""
        made = []
        for folder in (self._home, self._home / "policies", self.code(family)):
            file = folder / "__init__.py"
            if not file.exists():
                file.write_text("", encoding="utf-8")
                made.append(file)
        pyproject = self.root / "pyproject.toml"
        text = pyproject.read_text(encoding="utf-8")
        if self.package(family) not in _points(text):
            pyproject.write_text(_with_point(text, f"{self._package}_{family}", self.package(family)), encoding="utf-8")
            made.append(pyproject)
        return Announced(made, [f"pip install -e {self.root}  (so that Headway learns of the entry point)"])


def find_project(start: Path) -> Project:
    """Find the project that `start` is in.

    Raises
    ------
    ConfigError
        When no folder up to the root has a ``pyproject.toml`` that names a project.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        name = read_toml(file).get("project", {}).get("name") if file.is_file() else None
        if name == "headway" and (folder / "src" / "headway" / "policies").is_dir():
            return Checkout(folder)
        if name:
            return PluginProject(folder, re.sub(r"[-.]+", "_", name).lower())
    raise ConfigError(
        f"new: {here} must be inside a project with a pyproject.toml that names it, found none. Go there."
    )


def _points(text: str) -> set[str]:
    return set(tomllib.loads(text).get("project", {}).get("entry-points", {}).get(GROUP, {}).values())


def _with_point(text: str, name: str, value: str) -> str:
    header = f'[project.entry-points."{GROUP}"]'
    line = f'{name} = "{value}"\n'
    if header in text:
        return text.replace(header + "\n", f"{header}\n{line}", 1)
    return f"{text.rstrip()}\n\n{header}\n{line}"
