"""A mechanism with claims, as another package would bring it: a coin that claims to fall on heads twice as often.

It is written to a folder and put on the path, so that worker processes find it as they would find any other package.
"""

from __future__ import annotations

from pathlib import Path

CATALOGUE = """
[family]
name = "toy"
about = "Which side is up."

[[mechanism]]
id = "toy/coin"
class = "toy_claims.claims:Coin"
seat = "policy"
title = "Heads more often"
authors = "A. Thrower"
year = 2020
claims = "toy_claims.claims:CLAIMS"

[[mechanism]]
id = "toy/silent"
class = "toy_claims.claims:Coin"
seat = "policy"
title = "Claims nothing"
authors = "A. Thrower"
year = 2021

[[mechanism]]
id = "toy/wrong"
class = "toy_claims.claims:Coin"
seat = "policy"
title = "Claims what is no claim"
authors = "A. Thrower"
year = 2022
claims = "toy_claims.claims:NONSENSE"
"""

CLAIMS = """
from headway.app.reproduce.claim import Claim, Of, Size, ratio, rising


class Coin:
    pass


def tosses(seed, quick):
    heads = 60.0 + seed
    return {"coin": {"num_heads": heads, "num_quick": float(quick)}, "fair": {"num_heads": 50.0, "num_quick": 0.0}}


def claim(id, **changes):
    said = dict(
        id=id, text="Heads come twice as often.", source="page 1", hardware="a table", here="arithmetic", ours="coin",
        contestants={"coin": "the coin", "fair": "another coin"}, measure=tosses,
        directions=rising("num_heads", "fair", "coin"), sizes=[Size(ratio("num_heads", "coin", "fair"), 2.0)],
        claimed={("coin", "num_heads"): 100.0}, notes=["It is small."],
    )
    return Claim(**(said | changes))


CLAIMS = (
    claim("headline"),
    claim("exact", sizes=[Size(Of("coin", "num_heads"), 100.0, slack=1.0)]),
    claim("reverse", directions=rising("num_heads", "coin", "fair"), sizes=[]),
)
NONSENSE = (1, 2)
"""


def open_package(folder: Path) -> None:
    """Write the package and its entry point."""
    package, facts = folder / "toy_claims", folder / "toy_claims-1.0.dist-info"
    package.mkdir()
    facts.mkdir()
    (package / "__init__.py").touch()
    (package / "catalogue.toml").write_text(CATALOGUE)
    (package / "claims.py").write_text(CLAIMS)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-claims\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[headway.policies]\ntoy = toy_claims\n")
