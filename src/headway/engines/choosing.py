"""Choosing who decides in an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.policy import Policy
from headway.policies.serving.board import ServingBoard


def choose(policy: str, params: Mapping[str, Any]) -> Policy[ServingBoard]:
    """Build a policy for real time, where nobody knows what is to come.

    Parameters
    ----------
    policy : str
        Catalogue id of the policy or of a batch seat.
    params : mapping of str to object
        Its parameters.

    Raises
    ------
    ConfigError
        When it decides by a truth that nobody here knows, or its parameters are wrong.
    """
    built: Policy[ServingBoard] = catalogue.build(policy, params)
    if getattr(built, "foretells", False):
        raise ConfigError(
            f"engine: policy {policy} must do without the true lengths of outputs, which nobody here can "
            "foretell, and with these parameters it decides by them. Choose another policy, or a predictor that learns "
            '(predict = "serving/castillo").'
        )
    return built
