"""What importing the package gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import headway

HEAVY = ("torch", "transformers", "starlette", "numpy", "typer")


def test_public_names_are_exactly_these() -> None:
    assert sorted(headway._HOME_OF) == headway.__all__
    for name in headway.__all__:
        assert getattr(headway, name).__module__.startswith("headway.core.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(headway, "Sheduler")


def test_importing_the_package_pulls_in_nothing_heavy() -> None:
    code = f"import sys, headway; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_the_core_pulls_in_no_torch() -> None:
    code = "import sys, headway; [getattr(headway, n) for n in headway.__all__]; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "False"


def test_importing_the_package_is_quick() -> None:
    code = "import time; t = time.process_time(); import headway; print(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(5)]
    assert min(float(run.stdout) for run in runs) < 0.25
