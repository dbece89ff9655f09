"""Putting an engine together: from a loaded model, a line and a configuration to something that can be served."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol, cast

from headway.core import catalogue
from headway.core.clock import WallClock
from headway.core.errors import ConfigError
from headway.core.policy import Policy
from headway.core.session import Session
from headway.core.trace import FileTrace, TraceHeader
from headway.engines.choosing import choose
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.loop.engine import CAN, LlmEngine
from headway.engines.llm.loop.hashing import BlockHasher
from headway.engines.llm.loop.intake import Intake
from headway.engines.llm.loop.ports import Facts, Line, ModelRunner
from headway.engines.llm.loop.stepping import Stepper
from headway.engines.llm.messages import Gauges, Ready
from headway.engines.llm.sampling.compiling import Compiling
from headway.engines.llm.sampling.grammar import Grammars
from headway.engines.llm.trainers import Trainers
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.policies.serving.vllm import Vllm
from headway.policies.tuning.apart import SetsApart
from headway.policies.tuning.beside import Beside
from headway.policies.tuning.wrap import beside, share_of

if TYPE_CHECKING:
    from torch import Tensor

INSTANCE = "engine"
KEY_BYTES = 16


class LoadedModel(ModelRunner, Protocol):
    """A runner with its facts and the size of its KV memory."""

    num_blocks: int
    block_size: int

    @property
    def facts(self) -> Facts:
        """What is known of the model."""

    @property
    def num_shares(self) -> int:
        """Into how many parts its compute can be split, >= 1."""

    @property
    def kv_sides(self) -> list[Tensor]:
        """Its KV memory as bytes."""

    def adopt(self, name: str, folder: str) -> None:
        """Serve one more adapter."""


class Assembly:
    """An engine with its session.

    Parameters
    ----------
    config : EngineConfig
        What the engine was told.
    runner : LoadedModel
        The model.
    line : Line
        The line to the API process.
    policy : Policy
        Who decides.

    Attributes
    ----------
    engine : LlmEngine
        What executes.
    session : Session
        The only caller of the policy, with accounts, a trace if one was asked for, and a policy to fall back on.
    grammars : Grammars
        To be closed at the end.
    """

    def __init__(self, config: EngineConfig, runner: LoadedModel, line: Line, policy: Policy[ServingBoard]) -> None:
        self._config = config
        self.policy = policy
        self._facts = runner.facts
        self._pool = BlockPool(runner.num_blocks, runner.block_size, config.prefix_caching)
        instance = InstanceState(
            INSTANCE, self._pool, self._facts.num_layers, config.max_seqs, num_shares=runner.num_shares
        )
        board = ServingBoard([instance], CAN, config.slo_classes)
        clock = WallClock()
        # Prefixes are found by hash, so nobody may be able to prepare a prompt whose hashes equal somebody else's.
        hasher = BlockHasher(runner.block_size, secrets.token_bytes(KEY_BYTES)) if config.prefix_caching else None
        stepper = Stepper(runner, board, clock, self._facts.num_layers, hasher)
        priorities = {promise.name: promise.priority for promise in config.slo_classes}
        self._runner = runner
        self._intake = intake = Intake(self._facts, self._kv_tokens, hasher, priorities, config.seed)
        self.grammars = Grammars(config.model, self._facts.vocab_size, self._facts.eos_ids)
        trainers = Trainers(config.model, runner, self._adopted) if config.tuner else None
        self.engine = LlmEngine(board, stepper, intake, line, clock, Compiling(self.grammars), trainers)
        if isinstance(policy, Beside):  # what it would never lend is better refused than waited for
            most = policy.memory.most_blocks(instance)
            self.engine.tuning.most_blocks = min(self.engine.tuning.most_blocks, most)
        self.session = self._session(board)

    def ready(self, pid: int) -> Ready:
        """Return the facts that the API process is told."""
        facts, config = self._facts, self._config
        return Ready(
            model=facts.name,
            context_tokens=min(facts.context_tokens, self._kv_tokens),
            vocab_size=facts.vocab_size,
            eos_ids=tuple(facts.eos_ids),
            block_size=self._pool.block_size,
            num_blocks=self._pool.num_blocks,
            num_layers=facts.num_layers,
            dtype=facts.dtype,
            device=facts.device,
            kernels=facts.kernels,
            quantize=facts.quantize,
            policy=config.policy,
            adapters=tuple(facts.adapters),
            slo_classes=tuple(promise.name for promise in config.slo_classes),
            pid=pid,
        )

    def gauges(self) -> Gauges:
        """Return how the engine stands."""
        report = self.session.report()
        (instance,) = self.session.view.instances.values()
        return Gauges(
            running=instance.num_running,
            waiting=len(self.session.view.requests) - instance.num_running,
            kv_used_frac=self._pool.used_frac,
            kv_free_blocks=self._pool.num_free,
            prefix_queried_tokens=self._pool.num_queried_tokens,
            prefix_hit_tokens=self._pool.num_hit_tokens,
            num_steps=self.engine.num_steps,
            step_s=self.engine.step_s,
            num_preempted=self.engine.num_preempted,
            num_refused=report.num_refused,
            decide_s=report.decide_s if report.num_events else {},
            slos=report.slos,
            tune_blocks=len(instance.tune_blocks),
            tune_s=self.engine.tuning.spent_s,
            tune_error_frac=self._tune_error_frac,
        )

    @property
    def _tune_error_frac(self) -> float | None:
        share = self.policy.share if isinstance(self.policy, Beside) else None
        return getattr(share, "error_frac", None)

    def look_after_runs(self) -> None:
        """End fine-tuning runs when a policy decides that does not know them: the one that is fallen back on."""
        if self.session.policy is not self.policy:
            self.engine.abandon_runs("the policy has failed, and who decides since trains nothing")

    def _adopted(self) -> None:
        self._facts = self._intake.facts = self._runner.facts

    @property
    def _kv_tokens(self) -> int:
        return self._pool.num_blocks * self._pool.block_size

    @property
    def _about(self) -> dict[str, str | int]:
        facts, config = self._facts, self._config
        return {
            "model": facts.name,
            "dtype": facts.dtype,
            "device": facts.device,
            "kernels": facts.kernels,
            "quantize": facts.quantize,
            "num_layers": facts.num_layers,
            "num_blocks": self._pool.num_blocks,
            "block_size": self._pool.block_size,
            "max_seqs": config.max_seqs,
        }

    def _session(self, board: ServingBoard) -> Session[ServingBoard]:
        config = self._config
        header = TraceHeader(
            family="serving",
            policy=config.policy,
            params=config.policy_params,
            seed=config.seed,
            facts=self._about,
        )
        return Session(
            self.policy,
            board,
            seed=config.seed,
            accounts=RequestAccounts(config.slo_classes),
            trace=FileTrace(config.trace, header) if config.trace else None,
            fallback=Stack(batch=Vllm()),
        )


def build_policy(config: EngineConfig) -> Policy[ServingBoard]:
    """Build the policy that was asked for.

    Raises
    ------
    ConfigError
        When it needs what this engine cannot do, decides by a truth that nobody here knows, or its parameters are
        wrong.
    """
    missing = catalogue.needs(config.policy, config.policy_params) - CAN
    if missing:
        raise ConfigError(
            f"engine: policy {config.policy} needs an engine that offers {' and '.join(sorted(missing))}; "
            f"this one offers {', '.join(sorted(CAN))}. Choose another policy."
        )
    policy = choose(config.policy, config.policy_params)
    if config.tuner and not isinstance(policy, Beside):
        share = share_of(config.tuner, config.tuner_params)
        policy = beside(cast("Policy[ServingView]", policy), share, getattr(policy, "name", ""))
    if isinstance(policy, Beside) and isinstance(policy.share, SetsApart):
        raise ConfigError(
            "engine: the tuner must train at the instance that serves, for this engine has one, but "
            "tuning/dedicated sets instances apart. Choose another."
        )
    return policy
