"""Who races: vLLM with its own scheduler, set up as well as one can, and vLLM with a policy of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

PREFIX = "serving/"
CLASSES = ("chat", "code", "summary", "agent", "batch")
TUNED_TOKENS = 256
"""Tokens per step of the tuned rival: such a step takes about as long as the loosest promised TPOT."""


class Contender(Struct, frozen=True, kw_only=True):
    """One way to run vLLM.

    Parameters
    ----------
    name : str
        What it is called; that of a policy is its catalogue id.
    flags : tuple of str
        What vLLM is started with beside what all have in common.
    by_priority : bool
        Whether requests carry a priority by their class.
    """

    name: str
    flags: tuple[str, ...] = ()
    by_priority: bool = False


PRIORITY = ("--scheduling-policy", "priority")
OWN = {
    "vllm": Contender(name="vllm"),
    "vllm-priority": Contender(name="vllm-priority", flags=PRIORITY, by_priority=True),
    "vllm-tuned": Contender(
        name="vllm-tuned", flags=(*PRIORITY, "--max-num-batched-tokens", str(TUNED_TOKENS)), by_priority=True
    ),
}
"""vLLM's own scheduler: by arrival; by priority; and by priority with steps short enough for the promised TPOT."""
BASELINE = "vllm"


def contender(name: str, params: Mapping[str, object] | None = None) -> Contender:
    """Return the contender of a name: one of vLLM's own, or vLLM with a policy of the catalogue."""
    if name in OWN:
        return OWN[name]
    told = {"policy": name, "policy_params": dict(params or {}), "slo_classes": [{"name": each} for each in CLASSES]}
    return Contender(
        name=name,
        flags=(
            "--scheduler-cls",
            "headway.engines.vllm.scheduler.HeadwayScheduler",
            "--additional-config",
            json.dumps({"headway": told}),
        ),
    )
