"""Trains in children that are killed at random moments; run as a script with a spec, a seed and a number of kills."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import msgspec
import peft  # noqa: F401  (once for all children)
from transformers import LlamaForCausalLM  # noqa: F401

from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.trainer import Trainer


def attempt(spec: TuneSpec, units: int, delay_s: float) -> bool:
    """Train in a child, and kill it a moment after so many units; says whether it came to its end."""
    ours, its = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        trainer = Trainer(spec)
        trainer.train(lambda _: None, stopped=lambda: not os.write(its, b"."))
        trainer.finish()
        os._exit(0)
    os.close(its)
    while units and os.read(ours, 1):
        units -= 1
    if not units:
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ours)
    return os.waitstatus_to_exitcode(status) == 0


if __name__ == "__main__":
    given, dice = msgspec.json.decode(sys.argv[1], type=TuneSpec), random.Random(int(sys.argv[2]))
    killed = [not attempt(given, dice.randint(0, 9), dice.random() * 0.02) for _ in range(int(sys.argv[3]))]
    while not attempt(given, 10_000, 0.0):
        pass
    print(sum(killed))
