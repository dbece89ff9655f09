"""Taking requests in: what comes over the wire becomes a `Live` request, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.engines.llm.loop.hashing import BlockHasher
from headway.engines.llm.loop.live import Live
from headway.engines.llm.loop.ports import Facts
from headway.engines.llm.messages import Sampling, Submit
from headway.engines.llm.sampling.recipe import Matcher, Recipe, plain
from headway.policies.serving.nouns import Request


class Intake:
    """Checks requests against the model and the memory.

    Parameters
    ----------
    facts : Facts
        What is known of the model.
    kv_tokens : int
        How many tokens the whole KV memory holds, >= 1.
    hasher : BlockHasher or None
        Hashes prompts for the prefix cache; None when prefixes are not remembered.
    priorities : mapping of str to int
        Priority by SLO class, for requests that bring none.
    seed : int
        Of the random streams of requests without a seed of their own.
    """

    def __init__(
        self,
        facts: Facts,
        kv_tokens: int,
        hasher: BlockHasher | None = None,
        priorities: Mapping[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.facts = facts
        self.kv_tokens = kv_tokens
        self._hasher = hasher
        self._priorities = priorities or {}
        self._seed = seed
        self._num_taken = 0

    def check(self, submit: Submit) -> None:
        """Accept a request, or say why it can never be served.

        Raises
        ------
        ConfigError
            With the sentence for its sender.
        """
        facts, length = self.facts, len(submit.prompt)
        if not length:
            raise ConfigError("prompt: must have at least one token, got none.")
        if length >= facts.context_tokens:
            raise ConfigError(f"prompt: must leave room in the context of {facts.context_tokens} tokens, got {length}.")
        if length >= self.kv_tokens:
            raise ConfigError(f"prompt: must leave room in the KV memory of {self.kv_tokens} tokens, got {length}.")
        if submit.adapter and submit.adapter not in facts.adapters:
            raise ConfigError(f"adapter: must be loaded, got {submit.adapter!r}.")
        self._check_ids("prompt", min(submit.prompt), max(submit.prompt))
        _check_sampling(submit.sampling)
        bias = submit.sampling.logit_bias
        if bias:
            self._check_ids("logit_bias", min(bias), max(bias))

    def take(self, submit: Submit, arrival_s: Seconds, matcher: Matcher | None = None) -> Live:
        """Turn a checked request into a live one that arrived at `arrival_s`."""
        self._num_taken += 1
        request = self._request(submit, arrival_s)
        stop_ids = frozenset(submit.sampling.stop_token_ids)
        if not submit.sampling.ignore_eos:
            stop_ids |= frozenset(self.facts.eos_ids)
        return Live(submit, request, self._plan(submit, stop_ids, matcher), stop_ids)

    def _plan(self, submit: Submit, stop_ids: frozenset[int], matcher: Matcher | None) -> Recipe | None:
        if plain(submit.sampling):
            return None
        own = submit.sampling.seed
        seed = f"{self._seed}/{self._num_taken}" if own is None else own
        in_vocabulary = [token for token in stop_ids if 0 <= token < self.facts.vocab_size]
        return Recipe(submit.sampling, submit.prompt, in_vocabulary, seed, matcher)

    def _request(self, submit: Submit, arrival_s: Seconds) -> Request:
        length = len(submit.prompt)
        room = min(self.facts.context_tokens, self.kv_tokens) - length
        hashes = self._hasher.chain(submit.prompt, submit.adapter) if self._hasher else ()
        return Request(
            id=submit.id,
            arrival_s=arrival_s,
            prompt_tokens=length,
            max_tokens=min(submit.sampling.max_tokens, room),
            hashes=tuple(hashes),
            adapter=submit.adapter,
            slo_class=submit.slo_class,
            priority=submit.priority or self._priorities.get(submit.slo_class, 0),
            tenant=submit.tenant,
            session=submit.session,
            stage=submit.stage,
            ttft_s=submit.ttft_s,
            tpot_s=submit.tpot_s,
            deadline_s=None if submit.deadline_s is None else arrival_s + submit.deadline_s,
        )

    def _check_ids(self, where: str, smallest: int, largest: int) -> None:
        if smallest < 0 or largest >= self.facts.vocab_size:
            wrong: Id = str(smallest if smallest < 0 else largest)
            raise ConfigError(f"{where}: token ids must be in [0, {self.facts.vocab_size}), got {wrong}.")


def _check_sampling(sampling: Sampling) -> None:
    """Check what would break a step for everybody in it; what is merely unusual is the API's business."""
    asked = {
        "max_tokens must be >= 1": sampling.max_tokens >= 1,
        "temperature must be >= 0": sampling.temperature >= 0,
        "top_p must be in (0, 1]": 0 < sampling.top_p <= 1,
        "min_p must be in [0, 1]": 0 <= sampling.min_p <= 1,
        "top_k must be >= 0": sampling.top_k >= 0,
        "repetition_penalty must be > 0": sampling.repetition_penalty > 0,
        "logprobs must be >= 0": (sampling.logprobs or 0) >= 0,
    }
    for rule, holds in asked.items():
        if not holds:
            raise ConfigError(f"sampling: {rule}, got {getattr(sampling, rule.split()[0])}.")
