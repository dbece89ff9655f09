from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headway.core.errors import MissingExtra
from headway.plots.libraries import plotly_script
from headway.plots.page import Page
from headway.plots.provenance import provenance
from headway.plots.tables import Table
from plots.figures import figures

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Keeps what a page says, and fails on elements that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def full_page() -> Page:
    page = Page("Policies <compared>", about="Who & when.", facts={"Seeds": "0, 1", **provenance()})
    page.section("Numbers", "Lower is <better>.", Table(["policy", "n"], [["<script>alert(1)</script>", 3]]))
    for name, figure in figures().items():
        page.section(name, figure)
    return page.reproduce("headway compare a.toml", 'about = "<x> & y"')


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    plotly_script.cache_clear()
    for name in [module for module in sys.modules if module.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_a_page_says_everything_and_escapes_it() -> None:
    pytest.importorskip("plotly")
    reader = read(full_page().html())
    for text in ("Policies <compared>", "Who & when.", "0, 1", "Lower is <better>.", "<script>alert(1)</script>"):
        assert text in reader.texts
    assert "headway compare a.toml" in reader.texts
    assert 'about = "<x> & y"' in reader.texts
    assert reader.tags.count(("main", {})) == 1


def test_nothing_is_loaded_from_elsewhere() -> None:
    pytest.importorskip("plotly")
    html = full_page().html()
    reader = read(html)
    for tag, attrs in reader.tags:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base"}
        assert not {"src", "href", "srcset", "action", "data"} & set(attrs)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = (meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "showSendToCloud: false" in html


def test_plotly_js_is_there_once_and_only_if_something_is_drawn() -> None:
    pytest.importorskip("plotly")
    assert full_page().html().count("* plotly.js v") == 1
    assert "plotly.js v" not in Page("tables alone").section("x", Table(["a"], [[1]])).html()


def test_every_figure_has_words_data_and_a_place() -> None:
    pytest.importorskip("plotly")
    reader = read(full_page().html())
    places = [div["id"] for div in reader.all("div") if div.get("class") == "plot"]
    data = [script["data-for"] for script in reader.all("script") if "data-for" in script]
    assert places == data == [f"figure-{place + 1}" for place in range(len(figures()))]
    labels = [div["aria-label"] for div in reader.all("div") if div.get("role") == "img"]
    assert len(labels) == len(figures())
    assert all(labels)
    assert labels[0] is not None
    assert labels[0].startswith("TTFT: serving/vllm, from 0 % to 100 %; serving/sarathi")
    assert len(reader.all("details")) >= len(figures()) - 5


def test_the_same_page_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    for name in ("a.html", "b.html"):
        full_page().write(tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_without_plotly_pictures_take_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    without(monkeypatch, "plotly")
    html = full_page().html()
    reader = read(re.sub(r"<\?xml.*?\?>|<!DOCTYPE svg.*?>", "", html, flags=re.DOTALL))
    assert len([svg for svg in reader.all("svg") if svg.get("class") == "still"]) == len(figures())
    assert "plotly.js v" not in html
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs.get("xlink:href") or "#" for _, attrs in reader.tags]
    assert all(link.startswith("#") for link in links)


def test_without_any_library_the_error_names_the_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "plotly", "matplotlib")
    with pytest.raises(MissingExtra, match=r"pip install 'headway\[plan\]'"):
        Page("x").section("figure", figures()["cdf"])
    Page("x").section("table", Table(["a"], [[1]])).write(tmp_path / "x.html")
    assert (tmp_path / "x.html").exists()
