"""A page as a browser shows it: needs Chromium, and is skipped where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headway.plots.page import Page
from headway.plots.tables import Amount, Cell, Table
from plots.figures import figures

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]

CLICKS = """<script>
const heads = [...document.querySelectorAll("th button")];
heads[1].click();
const column = () => [...document.querySelectorAll("tbody")][0].innerText.split(/\\s+/).filter(Boolean).join("|");
const rising = column();
heads[1].click();
const falling = column();
document.getElementById("theme").click();
document.body.dataset.seen = [rising, falling, document.documentElement.dataset.theme].join(";");
</script>"""


def shown(html: str, folder: Path) -> str:
    """Return the page as it stands after its scripts have run."""
    page = folder / "page.html"
    page.write_text(html, encoding="utf-8")
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    # What a script complains about, and what the page's policy keeps from being fetched.
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def test_every_figure_is_drawn_and_nothing_is_fetched(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    page = Page("All figures")
    for name, figure in figures().items():
        page.section(name, figure)
    html = page.html()
    dom = shown(html, tmp_path)
    for place in range(len(figures())):
        assert re.search(rf'id="figure-{place + 1}" class="plot js-plotly-plot"', dom) or re.search(
            rf'class="plot js-plotly-plot"[^>]*id="figure-{place + 1}"', dom
        )
    assert dom.count('class="main-svg"') >= 2 * len(figures())


def test_headers_sort_and_the_theme_turns(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [["a", Amount(0.5, "s")], ["b", Amount(0.0625, "s")], ["c", None], ["d", Amount(2.0, "s")]]
    html = Page("x").section("t", Table(["policy", "p99"], rows)).html().replace("</body>", CLICKS + "</body>")
    seen = re.search(r'data-seen="([^"]*)"', shown(html, tmp_path))
    assert seen is not None
    assert seen[1].split(";") == ["b|62.5|ms|a|500|ms|d|2.00|s|c|–", "d|2.00|s|a|500|ms|b|62.5|ms|c|–", "dark"]
