"""Write the table of all reproductions into the README, from the results of `headway reproduce --all serving --json`.

headway reproduce --all serving --json > benchmarks/results/DATE-MACHINE-reproduce-serving.json
python tools/headline.py
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from headway.app.reproduce.everything import headline_table, markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- headline: written by tools/headline.py -->", "<!-- end of headline -->"


def latest() -> Path:
    """Return the latest results; their names begin with the date."""
    return sorted(RESULTS.glob("*-reproduce-serving.json"))[-1]


def written(readme: str) -> str:
    """Return the README with the table between its marks."""
    path = latest()
    table = markdown(headline_table(json.loads(path.read_text(encoding="utf-8"))))
    about = "Directions, sizes: of all its claims, how many agree in every comparison, and in every number published."
    text = f"{BEGIN}\n{table}\n{about}\nFrom [{path.name}]({path.relative_to(ROOT)}).\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: text, readme, flags=re.DOTALL)


def main() -> int:
    """Write it; with --check say whether it is up to date."""
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = written(before)
    if "--check" in sys.argv:
        return int(before != after)
    readme.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
