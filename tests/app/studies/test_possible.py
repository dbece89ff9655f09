from __future__ import annotations

import math
from pathlib import Path

import pytest

from headway.app.studies.compare import comparison_of, jobs_of
from headway.app.studies.job import finish
from headway.app.studies.possible import largest_possible_load, with_possible
from headway.app.studies.recipe import Recipe, recipe_of
from headway.app.studies.tables import comparison_table
from headway.core.errors import ConfigError

RECIPE = {
    "policies": ["serving/sarathi", {"id": "serving/vllm", "max_seqs": 8}],
    "loads": [1.0, 6.0],
    "seeds": 2,
    "trace": {
        "lengths": {"kind": "lognormal", "prompt_median": 400, "prompt_sigma": 0.8, "output_median": 40,
                    "output_sigma": 0.8, "max_tokens": 4000},
        "num_requests": 60,
        "rate_per_s": 20.0,
    },
    "model": {"name": "llama-3-8b"},
    "slo": [{"ttft_s": 0.5, "tpot_s": 0.03}],
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return recipe_of(RECIPE, Path("recipe.toml"))


def test_every_table_says_how_far_policies_are_from_the_best_possible(recipe: Recipe) -> None:
    jobs = jobs_of(recipe)
    told: list[tuple[int, int]] = []
    results = with_possible(jobs, [finish(job) for job in jobs], lambda done, num: told.append((done, num)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for result in results:
        numbers = result.report.numbers
        assert numbers["goodput_frac"] <= numbers["possible_frac"] <= 1
        assert numbers["of_possible_frac"] == pytest.approx(numbers["goodput_frac"] / numbers["possible_frac"])
    found = comparison_of(recipe, results)
    rows = [row[0] for row in comparison_table(found, 6.0).texts()]
    assert {"goodput", "possible", "of possible"} <= set(rows)
    assert (
        found.mean("serving/sarathi", 6.0, "possible_frac").mean
        < found.mean("serving/sarathi", 1.0, "possible_frac").mean
    )


def test_the_largest_load_at_which_it_is_possible(recipe: Recipe) -> None:
    job = jobs_of(recipe)[0]
    strict, kind = (largest_possible_load(job, (0,), share) for share in (0.98, 0.9))
    assert 1 < strict <= kind < 64
    assert largest_possible_load(job, (0,), 0.9, max_load=1.0) == math.inf


def test_a_family_without_a_bound_says_so(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.core import catalogue

    bare = {"serving": catalogue.Family(name="serving", about="")}
    monkeypatch.setattr(catalogue, "families", lambda: bare)
    with pytest.raises(ConfigError, match="family serving must have a bound"):
        largest_possible_load(jobs_of(recipe)[0], (0,), 0.9)
