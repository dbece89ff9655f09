"""The scheduler in which a policy of ours decides inside vLLM, with a log of its steps."""

from __future__ import annotations

from fidelity.step_log import StepLog
from headway.engines.vllm.scheduler import HeadwayScheduler


class LoggedHeadwayScheduler(StepLog, HeadwayScheduler):
    """It decides as its policy does; what vLLM computes is logged."""
