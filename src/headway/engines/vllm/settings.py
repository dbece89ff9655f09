"""What the scheduler inside vLLM is told: the entry ``headway`` of vLLM's ``--additional-config``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.core.policy import Policy
from headway.core.slo import SloClass
from headway.engines.choosing import choose
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.promises import SLO_CLASSES, check_default, check_slo_classes, listed

KEY = "headway"
DEFAULT = "default"
CAN = frozenset({"repeat"})
"""What vLLM is able to do beyond plain steps."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who decides inside vLLM, and what is promised.

    Parameters
    ----------
    policy : str
        Catalogue id of the policy or of a batch seat; ``"serving/headway"`` by default.
    policy_params : dict
        Its parameters.
    slo_classes : tuple of SloClass
        The promises that requests can name; those of `headway serve` by default.
    default_slo_class : str
        The one of requests that name none; ``"default"`` promises nothing where it is no class.
    seed : int
        Of the policy.
    trace : str
        A file to write all events and decisions to; empty for none.
    """

    policy: str = "serving/headway"
    policy_params: dict[str, Any] = {}
    slo_classes: tuple[SloClass, ...] = SLO_CLASSES
    default_slo_class: str = DEFAULT
    seed: int = 0
    trace: str = ""

    def __post_init__(self) -> None:
        check_slo_classes(self.slo_classes, "vllm")
        if self.default_slo_class != DEFAULT:  # which promises nothing where it is no class
            check_default(self.default_slo_class, self.slo_classes, "vllm")


def settings_of(additional_config: object) -> Settings:
    """Read what stands under ``headway`` in vLLM's additional configuration.

    Raises
    ------
    ConfigError
        When it is not a table of settings.
    """
    config = additional_config.get(KEY, {}) if isinstance(additional_config, Mapping) else {}
    if not isinstance(config, Mapping):
        raise ConfigError(f'vllm: --additional-config must hold a table under "{KEY}", got {config!r}.')
    known = {**config}
    if "slo_classes" in known:
        known["slo_classes"] = listed(known["slo_classes"])
    return decode(Settings, known, where=f"vllm: --additional-config: {KEY}")


def build_policy(settings: Settings) -> Policy[ServingBoard]:
    """Build the policy that was asked for.

    Raises
    ------
    ConfigError
        When it needs what vLLM cannot do, decides by a truth that nobody here knows, or its parameters are wrong.
    """
    missing = catalogue.needs(settings.policy, settings.policy_params) - CAN
    if missing:
        raise ConfigError(
            f"vllm: policy {settings.policy} needs an engine that offers {' and '.join(sorted(missing))}, and vLLM "
            "does not. Choose another policy, or leave --engine vllm out."
        )
    return choose(settings.policy, settings.policy_params)
