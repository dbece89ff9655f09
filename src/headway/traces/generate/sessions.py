"""Sessions of agents, made: calls of a model on a prompt that grows, with tools at work in between."""

from __future__ import annotations

import numpy as np
from msgspec import Struct, field

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.traces.table import Floats, Ints, Labels, Prefixes, RequestTable


class Tool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool that agents call; how long it takes is log-normal.

    Parameters
    ----------
    share : float
        How often it is called beside the others, > 0.
    mean_s : float
        Mean time at work, in seconds, > 0.
    cv : float
        Standard deviation over mean, >= 0; 1.5, a heavy tail.
    """

    share: float = 1.0
    mean_s: Seconds = 1.0
    cv: float = 1.5

    def __post_init__(self) -> None:
        if not (self.share > 0 and self.mean_s > 0 and self.cv >= 0):
            raise ConfigError(f"sessions: share and mean_s of a tool must be > 0 and cv >= 0, got {self}.")


class AgentSessions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="agents"):
    """Sessions in which a call reads all that came before: its own outputs and what tools answered.

    Parameters
    ----------
    num_sessions : int
        How many, >= 1.
    mean_turns, turns_cv : float
        Calls per session, >= 1, and their standard deviation over mean, >= 0; log-normal, rounded.
    max_turns : int
        No session has more, >= 1.
    system_tokens : int
        Beginning that the prompts of all sessions share, >= 0.
    task_tokens, answer_tokens, output_tokens : float
        Means of what a session begins with, of what a tool answers, and of what the model puts out, >= 1; log-normal.
    tokens_cv : float
        Standard deviation over mean of these, >= 0.
    max_prompt_tokens : int
        A session whose prompt would grow beyond ends there, >= 1.
    tools : dict of str to Tool
        What is called between calls, by name.
    block_tokens : int
        Tokens per hashed block, >= 1; only full blocks are hashed.
    """

    num_sessions: int = 100
    mean_turns: float = 10.0
    turns_cv: float = 0.5
    max_turns: int = 60
    system_tokens: int = 1024
    task_tokens: float = 1000.0
    answer_tokens: float = 800.0
    output_tokens: float = 150.0
    tokens_cv: float = 0.8
    max_prompt_tokens: int = 100_000
    tools: dict[str, Tool] = field(default_factory=lambda: {"tool": Tool()})
    block_tokens: int = 16

    def __post_init__(self) -> None:
        least = {"num_sessions": 1, "mean_turns": 1, "max_turns": 1, "system_tokens": 0, "task_tokens": 1}
        least |= {"answer_tokens": 1, "output_tokens": 1, "max_prompt_tokens": 1, "block_tokens": 1}
        least |= {"turns_cv": 0, "tokens_cv": 0}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ConfigError(f"sessions: {name} must be >= {bound}, got {getattr(self, name)}.")
        if not self.tools:
            raise ConfigError("sessions: must have a tool, got none. Leave `tools` out for one with a mean of 1 s.")

    def draw(self, rng: np.random.Generator) -> RequestTable:
        """Draw the sessions; all begin at 0, until arrivals are drawn for them."""
        turns = np.clip(np.rint(lognormal(self.mean_turns, self.turns_cv, self.num_sessions, rng)), 1, self.max_turns)
        parts = [self._session(int(count), rng) for count in turns]
        counts = np.array([len(part[0]) for part in parts])
        prompt, output, gap_s, tools = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        num = int(counts.sum())
        rows = np.arange(num)
        is_first = np.zeros(num, bool)
        is_first[np.cumsum(counts) - counts] = True
        session = np.repeat(np.arange(self.num_sessions), counts)
        return RequestTable(
            np.zeros(num),
            prompt,
            output,
            labels={
                "session": Labels(session, tuple(f"s{number}" for number in range(self.num_sessions))),
                "tool": Labels(tools, (*self.tools, "")),
            },
            prefixes=self._prefixes(prompt, session),
            after=np.where(is_first, -1, rows - 1),
            gap_s=gap_s,
            source="sessions of agents",
        )

    def _session(self, turns: int, rng: np.random.Generator) -> tuple[Ints, Ints, Floats, Ints]:
        """Return prompts, outputs, pauses before each call, and the number of the tool that each output calls."""
        output = self._tokens(self.output_tokens, turns, rng)
        new = self._tokens(self.answer_tokens, turns, rng)
        new[0] = self.system_tokens + self._tokens(self.task_tokens, 1, rng)[0]
        prompt = np.cumsum(new) + np.cumsum(output) - output
        kept = max(1, int((prompt <= self.max_prompt_tokens).sum()))
        shares = np.array([tool.share for tool in self.tools.values()])
        called = rng.choice(len(shares), size=turns, p=shares / shares.sum())
        means, cvs = np.array([(tool.mean_s, tool.cv) for tool in self.tools.values()]).T
        busy_s = lognormal(means[called], cvs[called], turns, rng)
        gap_s = np.concatenate([[0.0], busy_s[:-1]])
        called[kept - 1] = len(shares)  # the last call of a session calls none
        return prompt[:kept], output[:kept], gap_s[:kept], called[:kept]

    def _tokens(self, mean: float, num: int, rng: np.random.Generator) -> Ints:
        return np.maximum(np.rint(lognormal(mean, self.tokens_cv, num, rng)), 1).astype(np.int64)

    def _prefixes(self, prompt: Ints, session: Ints) -> Prefixes:
        """Number the blocks of each session on from those of the one before; those of the system prompt are shared."""
        blocks = prompt // self.block_tokens
        most = np.zeros(self.num_sessions, np.int64)
        np.maximum.at(most, session, blocks)
        first = self.system_tokens // self.block_tokens + np.cumsum(most) - most
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(blocks)])
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], blocks)
        is_shared = place < self.system_tokens // self.block_tokens
        values = np.where(is_shared, place, np.repeat(first[session], blocks) + place)
        return Prefixes(self.block_tokens, values, offsets)


def lognormal(mean: float | Floats, cv: float | Floats, num: int, rng: np.random.Generator) -> Floats:
    """Draw log-normal numbers of a mean and a standard deviation over mean."""
    variance = np.log1p(np.square(cv))
    drawn: Floats = np.exp(np.log(mean) - variance / 2 + np.sqrt(variance) * rng.standard_normal(num))
    return drawn
