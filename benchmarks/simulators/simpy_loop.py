"""SimPy's turn: the simplest serving loop that one writes with it, step by step and request by request.

Each step gives every running request its token and fills a token budget with chunks of prompts; memory is a count of
blocks. There are no prefixes, no preemption (all blocks are reserved), no objectives and no report.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

import simpy
from case import BLOCK_SIZE, MAX_SEQS, NUM_BLOCKS, TOKEN_BUDGET, Case, Timed

FIXED_S, PREFILL_TOKEN_S, DECODE_S, CONTEXT_TOKEN_S = 12e-3, 8e-5, 3e-5, 8e-8
"""Of the order of an 8 B model on one A100."""


class Seq:
    """A request."""

    __slots__ = ("arrival_s", "blocks", "end_s", "first_s", "given", "left_prompt", "output", "prompt")

    def __init__(self, line: dict[str, Any], load: float) -> None:
        self.arrival_s = line["timestamp"] / 1e3 / load
        self.prompt = self.left_prompt = line["input_length"]
        self.output = line["output_length"]
        self.given = 0
        self.blocks = -(-(self.prompt + self.output) // BLOCK_SIZE)
        self.first_s = self.end_s = 0.0


class Server:
    """One replica."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.waiting: deque[Seq] = deque()
        self.running: list[Seq] = []
        self.free_blocks = NUM_BLOCKS
        self.num_ended = 0
        self.chunks: list[tuple[Seq, int]] = []
        self.news = env.event()

    def arrivals(self, seqs: list[Seq]) -> Generator[simpy.Event, None, None]:
        """Let the requests arrive."""
        for seq in seqs:
            yield self.env.timeout(seq.arrival_s - self.env.now)
            self.waiting.append(seq)
            if not self.news.triggered:
                self.news.succeed()

    def serve(self) -> Generator[simpy.Event, None, None]:
        """Step for ever."""
        while True:
            if not self.running and not self.waiting:
                self.news = self.env.event()
                yield self.news
            yield self.env.timeout(self._form())
            self._advance()

    def _form(self) -> float:
        """Choose what the next step computes, and return how long it takes."""
        budget, context, num_decodes = TOKEN_BUDGET, 0, 0
        for seq in self.running:
            if not seq.left_prompt:
                num_decodes += 1
                context += seq.prompt + seq.given
        budget -= num_decodes
        self._admit(budget)
        self.chunks = []
        for seq in self.running:
            if seq.left_prompt and budget > 0:
                tokens = min(seq.left_prompt, budget)
                self.chunks.append((seq, tokens))
                budget -= tokens
        prefilled = sum(tokens for _, tokens in self.chunks)
        return FIXED_S + num_decodes * DECODE_S + context * CONTEXT_TOKEN_S + prefilled * PREFILL_TOKEN_S

    def _admit(self, budget: int) -> None:
        budget -= sum(seq.left_prompt for seq in self.running)
        while self.waiting and budget > 0 and len(self.running) < MAX_SEQS:
            if self.waiting[0].blocks > self.free_blocks:
                return
            seq = self.waiting.popleft()
            self.free_blocks -= seq.blocks
            self.running.append(seq)
            budget -= seq.prompt

    def _advance(self) -> None:
        now_s = self.env.now
        before = self.num_ended
        decoding = [seq for seq in self.running if not seq.left_prompt]
        for seq, tokens in self.chunks:
            seq.left_prompt -= tokens
            if not seq.left_prompt:
                decoding.append(seq)
        for seq in decoding:
            seq.given += 1
            if seq.given == 1:
                seq.first_s = now_s
            if seq.given == seq.output:
                seq.end_s = now_s
                self.num_ended += 1
                self.free_blocks += seq.blocks
        if self.num_ended > before:
            self.running = [seq for seq in self.running if not seq.end_s]


def simulate(seqs: list[Seq]) -> None:
    """Play to the end."""
    env = simpy.Environment()
    server = Server(env)
    env.process(server.serve())
    env.process(server.arrivals(seqs))
    while server.num_ended < len(seqs):
        env.step()


def main() -> None:
    """Simulate, and print what it took."""
    case, timed = Case.told(), Timed()
    with Path(case.requests_file).open(encoding="utf-8") as file:
        lines = [json.loads(line) for line, _ in zip(file, range(case.num_requests), strict=False)]
    for load in case.loads:
        seqs = [Seq(line, load) for line in lines]
        timed.run(lambda seqs=seqs: simulate(seqs))
        end_s = max(seq.end_s for seq in seqs)
        present = sum(seq.end_s - seq.arrival_s for seq in seqs) / end_s
        timed.count(len(seqs), sum(seq.given for seq in seqs), finished_per_s=len(seqs) / end_s, mean_present=present)
    timed.tell(version=importlib.metadata.version("simpy"))


if __name__ == "__main__":
    main()
