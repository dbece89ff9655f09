"""The documentation is true: generated pages are up to date, links lead somewhere, examples run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date() -> None:
    for path, text in _tool("docs").pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `python tools/docs.py`"


def test_the_headline_table_is_that_of_the_latest_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert _tool("headline").written(text) == text, "README.md is stale: run `python tools/headline.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_every_policy() -> None:
    from headway.core import catalogue

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [row.id for row in catalogue.rows() if f"`{row.id}`" not in text] == []


def test_the_readme_example_of_virtual_time_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "simulate(" in block]
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
