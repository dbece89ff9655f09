"""A random job shop as an episode: every choice of shop/rl-cp-jssp is put to whoever plays."""

from __future__ import annotations

import numpy as np

from headway.core.learning import Asking
from headway.policies.shop.rl_cp_jssp import RlCpJssp
from headway.policies.shop.schedule import objective
from headway.sim.shop.instances.generate import random_job_shop

NUM_JOBS, NUM_MACHINES = 10, 10


def asking(seed: int) -> Asking[float]:
    """Begin an episode: ten jobs on ten machines, durations uniform in 1 .. 99.

    Actions are jobs, the last is the No-Op. There is no reward but the last: minus the makespan, in units of the
    longest job or the heaviest machine, whichever is more.
    """
    problem = random_job_shop(NUM_JOBS, NUM_MACHINES, np.random.default_rng(seed))
    jobs, machines = [0] * NUM_JOBS, [0] * NUM_MACHINES
    for task in problem.tasks:
        mode = task.modes[0]
        jobs[task.job] += mode.duration
        machines[mode.needs[0][0]] += mode.duration
    schedule = yield from RlCpJssp().ask(problem)
    return -objective(problem, schedule) / max(*jobs, *machines)
