from __future__ import annotations

import sys

import pytest

from headway.core.errors import ConfigError, MissingExtra
from headway.numerics.cp import new_model, solve


def test_a_small_model_is_solved_and_its_values_come_in_order() -> None:
    model = new_model()
    x, y = model.new_int_var(0, 10, "x"), model.new_int_var(0, 10, "y")
    model.add(x + y <= 10)
    model.maximize(x + 2 * y)
    heard: list[tuple[float, float]] = []
    bounds: list[float] = []
    found = solve(
        model, [y, x], budget_s=10, workers=1, on_solution=lambda *news: heard.append(news), on_bound=bounds.append
    )
    assert (found.status, found.values, found.objective, found.bound) == ("optimal", (10, 0), 20, 20)
    assert heard[-1][0] == 20
    assert bounds[-1] == 20


def test_a_model_without_objective_has_no_bound() -> None:
    model = new_model()
    x = model.new_int_var(3, 3, "")
    found = solve(model, [x], budget_s=10)
    assert (found.status, found.values, found.objective, found.bound) == ("optimal", (3,), None, None)


def test_assumptions_that_contradict_each_other_are_named() -> None:
    model = new_model()
    x, y = model.new_int_var(0, 10, ""), model.new_int_var(0, 10, "")
    claims = [model.new_bool_var("") for _ in range(3)]
    model.add(x + y <= 10)
    model.add(x >= 6).only_enforce_if(claims[0])
    model.add(x >= 1).only_enforce_if(claims[1])
    model.add(y >= 6).only_enforce_if(claims[2])
    assert solve(model, budget_s=10, workers=1, assumptions=claims).conflict == (0, 2)
    assert solve(model, budget_s=10, workers=1, assumptions=claims[:2]).status in ("optimal", "feasible")


def test_what_a_callback_raises_comes_out() -> None:
    def refuse(objective: float, bound: float) -> None:
        raise KeyError(objective + bound)

    model = new_model()
    model.minimize(model.new_int_var(2, 9, ""))
    with pytest.raises(KeyError, match="4"):
        solve(model, budget_s=10, on_solution=refuse)


def test_a_model_that_overflows_is_an_error() -> None:
    model = new_model()
    many = [model.new_int_var(0, 2**61, "") for _ in range(8)]
    model.minimize(sum(many))
    with pytest.raises(ConfigError, match="must be sound"):
        solve(model, budget_s=10)


def test_without_the_library_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    with pytest.raises(MissingExtra, match=r"headway\[shop\]"):
        new_model()
