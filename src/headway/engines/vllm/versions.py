"""The releases of vLLM that the scheduler was tested with."""

from __future__ import annotations

import re

from headway.core.errors import ConfigError

TESTED = ("0.32", "0.33")
"""From the first of these, and below the second."""


def check(version: str) -> None:
    """Accept a version of vLLM, or say why not.

    Parameters
    ----------
    version : str
        For example ``"0.32.0"``.

    Raises
    ------
    ConfigError
        When the scheduler was not tested with it.
    """
    first, beyond = (_numbers(bound) for bound in TESTED)
    if not first <= _numbers(version) < beyond:
        raise ConfigError(
            f"vllm: must be a release from {TESTED[0]} and below {TESTED[1]}, for its scheduler is internal to it and "
            f"changes, got {version}. Install another, or leave --scheduler-cls out."
        )


def _numbers(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
