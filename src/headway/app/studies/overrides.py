"""What a command line changes about a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.app.studies.choice import Choice, choice, distinct
from headway.app.studies.recipe import Recipe, beside, check_keys, scenario_class
from headway.core.errors import ConfigError, unknown_name
from headway.core.parameters import settings

OF_ONE_SOURCE = ("format", "columns", "lengths", "num_requests", "prefixes", "mix")
"""Settings of a trace that belong to the file or the lengths they were written for."""


def changed(
    recipe: Recipe,
    *,
    trace: str = "",
    policies: Sequence[str] = (),
    pairs: Sequence[str] = (),
    seeds: Sequence[int] = (),
    loads: Sequence[float] = (),
    requests: int | None = None,
) -> Recipe:
    """Return a recipe with what a command line says otherwise.

    Parameters
    ----------
    recipe : Recipe
        As the file has it.
    trace : str
        Another source of requests: a path from here, or a shipped name.
    policies : sequence of str
        Who plays instead: an id, or the name that the recipe gives one of its own.
    pairs : sequence of str
        ``key=value``: a parameter of the policies that have it, or ``table.key=value`` of the recipe.
    seeds, loads : sequence of numbers
        Those of the runs instead.
    requests : int or None
        Only the first so many.

    Raises
    ------
    ConfigError, UnknownName
        When a key is unknown or a value is of no use.
    """
    if policies:
        recipe = recipe.but(policies=distinct([_pick(recipe, policy) for policy in policies], "--policy"))
    setting, params = dict(recipe.setting), {}
    if trace:
        kept = {k: v for k, v in setting.get("trace", {}).items() if k not in OF_ONE_SOURCE}
        setting["trace"] = {**kept, "source": beside(trace, Path.cwd())}
    if requests is not None:
        setting = _put(setting, _where_num_is(recipe, setting), requests, "--requests")
    for key, value in settings(list(pairs)).items():
        if key.startswith("plan."):
            recipe = recipe.but(plan=_put(recipe.plan, key.split(".")[1:], value, f"--set {key}"))
        elif "." in key:
            setting = _put(setting, key.split("."), value, f"--set {key}")
        elif any(policy.accepts(key) for policy in recipe.policies):
            params[key] = value
        else:
            setting = _top(setting, key, value, recipe)
    check_keys(setting, scenario_class(recipe.family), "--set")
    return recipe.but(
        setting=setting,
        policies=tuple(_given(policy, params) for policy in recipe.policies),
        seeds=tuple(seeds) or recipe.seeds,
        loads=tuple(loads) or recipe.loads,
    )


def _where_num_is(recipe: Recipe, setting: Mapping[str, Any]) -> list[str]:
    """Return the key of how many works there are: a scenario's own, or that of traces, drawn or read."""
    own: str = getattr(scenario_class(recipe.family), "NUM_WORKS", "")
    made = "lengths" in setting.get("trace", {})
    return own.split(".") if own else ["trace", "num_requests" if made else "max_requests"]


def _pick(recipe: Recipe, said: str) -> Choice:
    for policy in recipe.policies:
        if said == policy.label:
            return policy
    return choice(said, "--policy")


def _given(policy: Choice, params: Mapping[str, Any]) -> Choice:
    found = policy.given({key: value for key, value in params.items() if policy.accepts(key)})
    found.build()
    return found


def _top(setting: Mapping[str, Any], key: str, value: Any, recipe: Recipe) -> dict[str, Any]:
    import inspect

    from headway.core import catalogue

    keys = set(inspect.signature(scenario_class(recipe.family)).parameters)
    for policy in recipe.policies:
        keys |= set(inspect.signature(catalogue.load(policy.id)).parameters)
    if key not in keys:
        raise ConfigError(str(unknown_name("--set: key", key, keys, f"headway show {recipe.policy.id}")))
    return {**setting, key: value}


def _put(setting: Mapping[str, Any], keys: Sequence[str], value: Any, where: str) -> dict[str, Any]:
    """Set a value in tables within tables; in a list of tables, in each of them, or in the one that a number names."""
    first, rest = keys[0], keys[1:]
    if not rest:
        return {**setting, first: value}
    inner = setting.get(first, {})
    if isinstance(inner, Mapping):
        return {**setting, first: _put(inner, rest, value, where)}
    if isinstance(inner, list | tuple) and all(isinstance(table, Mapping) for table in inner):
        which = {int(rest[0])} if rest[0].isdecimal() else set(range(len(inner)))
        keys_left = rest[1:] if rest[0].isdecimal() else rest
        if not keys_left or not which <= set(range(len(inner))):
            raise ConfigError(f"{where}: must name a key of one of {len(inner)} tables. Try {first}.0.key.")
        tables = [_put(t, keys_left, value, where) if i in which else t for i, t in enumerate(inner)]
        return {**setting, first: tables}
    raise ConfigError(f"{where}: {first} must be a table, got {inner!r}. Write {first}=value.")
