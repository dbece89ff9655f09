"""Who computes a prompt and who its output: pools of machines that lend each other members.

Patel et al. 2024 (arXiv 2311.18677) describe the pools; the exact rules are those of the simulator they released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from headway.core.nouns import Id
from headway.policies.serving.pools import takers
from headway.policies.serving.state import InstanceState, RequestState

PROMPT, TOKEN, MIXED = "prompt", "token", "mixed"


class Plan(NamedTuple):
    """Where the prompt of a request is computed, and where its output."""

    prompt: Id
    token: Id


class Clusters:
    """The prompt pool, the token pool and the mixed pool, and what was promised to the machines in them.

    Parameters
    ----------
    prompt_frac : float
        Share of the machines whose pool's name says nothing that are for prompts, in [0, 1].
    max_queue_tokens : int
        Pending prompt tokens of a machine beyond which another is looked for, >= 1.
    """

    def __init__(self, prompt_frac: float, max_queue_tokens: int) -> None:
        self.prompt_frac = prompt_frac
        self.max_queue_tokens = max_queue_tokens
        self.plans: dict[Id, Plan] = {}
        self._home: dict[Id, str] = {}
        self._pulled: set[Id] = set()  # those that work for the other pool, too, for the time being
        self._reserved: dict[Id, dict[Id, float]] = {}

    def choose(
        self, state: RequestState, instances: Mapping[Id, InstanceState], predict: Callable[[RequestState], float]
    ) -> Plan:
        """Return where a request goes, pull machines out of their pools for it where need be, and keep it in mind."""
        self._settle(instances)
        able, tokens = takers(state, instances.values()) or list(instances.values()), predict(state)
        prompt = self._prompt_machine(self._of(PROMPT, able), state) or self._prompt_machine(
            self._of(MIXED, able), state
        )
        token = self._token_machine(self._of(TOKEN, able), tokens) or self._token_machine(self._of(MIXED, able), tokens)
        prompt = prompt or self._pull(min(self._of(TOKEN, able), key=pending_tokens, default=None))
        token = token or self._pull(min(self._of(PROMPT, able), key=self.reserved_tokens, default=None))
        if prompt is None or token is None:
            prompt = token = min(able, key=pending_tokens)
        self.assign(state.id, Plan(prompt.id, token.id), tokens)
        return self.plans[state.id]

    def choose_token(self, state: RequestState, instances: Mapping[Id, InstanceState], tokens: float) -> None:
        """Find another machine for the output of a request whose own is gone; where it runs if there is none."""
        self._settle(instances)
        able = takers(state, instances.values())
        token = self._token_machine(self._of(TOKEN, able), tokens) or self._token_machine(self._of(MIXED, able), tokens)
        self.forget(state.id)
        self.assign(state.id, Plan(state.instance, token.id if token is not None else state.instance), tokens)

    def assign(self, request: Id, plan: Plan, tokens: float) -> None:
        """Keep in mind where a request is to run, with memory for so many tokens."""
        self.plans[request] = plan
        for name in set(plan):
            self._reserved.setdefault(name, {})[request] = tokens

    def left_prompt(self, request: Id) -> None:
        """Note that the machine of its prompt has nothing to do with a request any more."""
        plan = self.plans.get(request)
        if plan is not None and plan.prompt != plan.token:
            self._reserved.get(plan.prompt, {}).pop(request, None)

    def forget(self, request: Id) -> None:
        """Note that a request has ended."""
        for name in set(self.plans.pop(request, ())):
            self._reserved.get(name, {}).pop(request, None)

    def pool_of(self, instance: Id) -> str:
        """Return in which pool a machine is now."""
        return MIXED if instance in self._pulled else self._home.get(instance, MIXED)

    def reserved_tokens(self, instance: InstanceState) -> float:
        """Return how much memory the requests that were sent to a machine will need together, in tokens."""
        return sum(self._reserved.get(instance.id, {}).values())

    def _prompt_machine(self, pool: Sequence[InstanceState], state: RequestState) -> InstanceState | None:
        found = min(pool, key=pending_tokens, default=None)
        if found is None or (found.waiting and pending_tokens(found) + state.left_tokens > self.max_queue_tokens):
            return None
        return found

    def _token_machine(self, pool: Sequence[InstanceState], tokens: float) -> InstanceState | None:
        found = min(pool, key=self.reserved_tokens, default=None)
        if found is None or self.reserved_tokens(found) + tokens >= found.kv.num_blocks * found.kv.block_size:
            return None
        return found

    def _pull(self, instance: InstanceState | None) -> InstanceState | None:
        if instance is not None:
            self._pulled.add(instance.id)
        return instance

    def _of(self, pool: str, instances: Iterable[InstanceState]) -> list[InstanceState]:
        return [instance for instance in instances if self.pool_of(instance.id) == pool]

    def _settle(self, instances: Mapping[Id, InstanceState]) -> None:
        """Give machines their homes, and send those back that have no more work of the other pool."""
        if self._home.keys() != instances.keys():
            self._home = homes(list(instances.values()), self.prompt_frac)
            self._pulled &= self._home.keys()
        self._pulled = {id_ for id_ in self._pulled if self._is_away(instances[id_])}

    def _is_away(self, instance: InstanceState) -> bool:
        if self._home[instance.id] == TOKEN:
            return bool(instance.waiting) or any(state.left_tokens > 1 for state in _beside_decodes(instance))
        return any(self.plans[id_].token == instance.id for id_ in self._reserved.get(instance.id, ()))


def homes(instances: Sequence[InstanceState], prompt_frac: float) -> dict[Id, str]:
    """Return to which pool each machine belongs: as its own pool's name says, or a share of the others for prompts."""
    named = {i.id: next((pool for pool in (PROMPT, TOKEN, MIXED) if i.pool.startswith(pool)), "") for i in instances}
    others = [id_ for id_, pool in named.items() if not pool]
    if len(others) == 1 == len(instances):
        return dict.fromkeys(others, MIXED)
    num_prompt = min(max(round(prompt_frac * len(others)), 1), max(len(others) - 1, 1))
    return named | {id_: PROMPT if n < num_prompt else TOKEN for n, id_ in enumerate(others)}


def pending_tokens(instance: InstanceState) -> int:
    """Return the tokens that a machine has still to compute: of prompts all, of outputs the next."""
    waiting = sum(state.left_tokens for state in instance.waiting.values())
    return waiting + sum(state.left_tokens for state in _beside_decodes(instance)) + len(instance.decodes)


def _beside_decodes(instance: InstanceState) -> Iterator[RequestState]:
    """Yield the running requests whose prompts are computed now or are about to be, and outputs of a mixed step."""
    decoding = instance.decodes.members
    return (state for id_, state in instance.running.items() if id_ not in decoding)
