"""Events and actions of all families can stand in one recording: no two share a name."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import headway.policies
from headway.core.actions import Action
from headway.core.events import Event

FOLDER = Path(headway.policies.__file__).parent


def test_no_two_kinds_of_records_share_a_name() -> None:
    for path in FOLDER.glob("*/*nouns.py"):
        importlib.import_module(f"headway.policies.{path.parent.name}.{path.stem}")
    found: dict[str, set[type[Any]]] = defaultdict(set)
    todo: list[type[Any]] = [Event, Action]
    while todo:
        for cls in todo.pop().__subclasses__():
            if cls.__module__.startswith("headway.policies"):
                found[str(cls.__struct_config__.tag)].add(cls)
            todo.append(cls)
    assert len(found) > 20
    shared = {tag: [cls.__module__ for cls in classes] for tag, classes in found.items() if len(classes) > 1}
    assert not shared
