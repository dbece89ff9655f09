from __future__ import annotations

from pathlib import Path

import pytest

from headway.app.studies.choice import Choice
from headway.app.studies.job import Job, job_of, play, scenario_of
from headway.app.studies.overrides import changed
from headway.app.studies.recipe import Recipe, read_recipe
from headway.core.errors import ConfigError, UnknownName
from headway.core.scenario import Scenario

TEXT = """
about = "A counter."
family = "counter"
policy = "counter/even"
policies = [{ id = "counter/even", run_s = 0.25, name = "fast" }]
loads = [0.5, 1]
seeds = 3
slow_s = 0.0
[trace]
source = "data.csv"
max_requests = 50
[[slo]]
name = "a"
e2e_s = 1.0
[[slo]]
name = "b"
[plan]
goal = "load"
"""


def written(folder: Path, text: str = TEXT) -> Path:
    file = folder / "recipe.toml"
    file.write_text(text)
    return file


def made(file: Path) -> Scenario:
    recipe = read_recipe(file)
    return scenario_of(job_of(recipe, recipe.policy))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return read_recipe(written(tmp_path))


def test_a_recipe_is_read(recipe: Recipe) -> None:
    assert [policy.label for policy in recipe.policies] == ["counter/even", "fast"]
    assert recipe.policy.id == "counter/even"
    assert (recipe.loads, recipe.seeds, recipe.plan) == ((0.5, 1.0), (0, 1, 2), {"goal": "load"})
    assert set(recipe.setting) == {"trace", "slo", "slow_s"}


def test_paths_are_looked_for_beside_the_recipe(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path)).setting["trace"]["source"] == str(tmp_path / "data.csv")
    shipped = written(tmp_path, TEXT.replace("data.csv", "azure-code"))
    assert read_recipe(shipped).setting["trace"]["source"] == "azure-code"
    (tmp_path / "azure-code").write_text("a file of the same name comes first")
    assert read_recipe(shipped).setting["trace"]["source"] == str(tmp_path / "azure-code")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("loads =", "lods =", r"key: 'lods' is not known. Nearest: loads"),
        ("max_requests", "max_request", r"\[trace\]: key: 'max_request' is not known. Nearest: max_requests"),
        ('name = "b"', 'nam = "b"', r"\[slo\]: key: 'nam' is not known. Nearest: name"),
        ("max_requests = 50", 'max_requests = "many"', "max_requests"),
        ("seeds = 3", "seeds = [1, 1]", "seeds must be >= 0 and differ"),
        ("seeds = 3", "seeds = 0", "seeds must be"),
        ("max_requests = 50", "max_requests = nan", "max_requests must be a finite number, got nan"),
        ("loads = [0.5, 1]", "loads = [0]", "loads must be > 0"),
        ('policy = "counter/even"', 'policy = "counter/evn"', "counter/even"),
        ("run_s = 0.25", "runs_s = 0.25", "run_s"),
        ('id = "counter/even", run_s', "run_s", "a policy must have an id"),
        ('family = "counter"', 'family = "contr"', "counter"),
        ('about = "A counter."', "about = ", "must be TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in TEXT
    file = written(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises((ConfigError, UnknownName), match=says):
        made(file)


def test_equal_names_are_told_apart_by_parameters(tmp_path: Path) -> None:
    text = TEXT.replace(', name = "fast"', "")
    assert [p.label for p in read_recipe(written(tmp_path, text)).policies][1] == "counter/even (run_s=0.25)"
    twice = TEXT.replace(
        'policies = [{ id = "counter/even", run_s = 0.25', 'policies = [{ id = "counter/even"'
    ).replace(', name = "fast"', ', name = "counter/even"')
    with pytest.raises(ConfigError, match="twice"):
        read_recipe(written(tmp_path, twice))


def test_settings_reach_policies_and_tables(recipe: Recipe) -> None:
    pairs = ["run_s=0.125", "trace.max_requests=7", "slo.e2e_s=3.0", "slo.1.name=c", "slow_s=0.5"]
    found = changed(recipe, pairs=pairs, seeds=[9], loads=[2.0])
    assert [policy.params for policy in found.policies] == [{"run_s": 0.125}, {"run_s": 0.125}]
    assert found.setting["trace"]["max_requests"] == 7
    assert [table["e2e_s"] for table in found.setting["slo"]] == [3.0, 3.0]
    assert [table["name"] for table in found.setting["slo"]] == ["a", "c"]
    assert (found.setting["slow_s"], found.seeds, found.loads) == (0.5, (9,), (2.0,))
    assert recipe.setting["trace"]["max_requests"] == 50


def test_flags_reach_the_trace(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("")
    found = changed(recipe, trace="mine.csv", requests=3)
    assert found.setting["trace"] == {"source": str(tmp_path / "mine.csv"), "max_requests": 3}
    assert changed(recipe, trace="azure-conv").setting["trace"]["source"] == "azure-conv"


def test_a_policy_is_picked_by_the_name_the_recipe_gives_it(recipe: Recipe) -> None:
    assert changed(recipe, policies=["fast"]).policy.params == {"run_s": 0.25}
    assert changed(recipe, policies=["serving/vllm"]).policy.id == "serving/vllm"


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("run_sec=1", "'run_sec' is not known. Nearest: run_s"),
        ("trace.max_reqests=1", "'max_reqests' is not known"),
        ("slo.7.name=x", "one of 2 tables"),
        ("slow_s.x=1", "slow_s must be a table"),
        ("run_s=fast", "run_s"),
        ("run_s", "must be key=value"),
    ],
)
def test_wrong_settings_are_refused(recipe: Recipe, pair: str, says: str) -> None:
    with pytest.raises((ConfigError, UnknownName), match=says):
        changed(recipe, pairs=[pair])


def test_a_policy_for_another_kind_of_work_is_refused_in_one_sentence() -> None:
    with pytest.raises(
        ConfigError, match="policy shop/blocking-rule must fit the scenario of shop, it needs no-buffers"
    ):
        play(Job(family="shop", setting={}, policy=Choice(id="shop/blocking-rule")))
