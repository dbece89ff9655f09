"""What a graph network sees of a shop without buffers: its operations as nodes, on a grid of jobs and places.

An operation that is over stays a node as long as its job blocks its machine, and is none any more after that. On the
grid an operation's predecessor and successor stand beside it, so that the conjunctive edges are shifts; the disjunctive
edges are those between operations of one machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.learning import Features
from headway.policies.shop.isbjssp_board import NOWHERE, ShopFloor

NAMES = (
    "not ready", "ready", "running", "blocking", "time", "completion", "operations left", "waited", "time left",
    "machine down", "machine free", "asked for", "work left", "load", "queue",
)  # fmt: skip
"""What is known of a node, in the order of its numbers; times are in mean processing times of the shop."""
NUM_FEATURES = len(NAMES)
Floats = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]


class Grid:
    """The parts of the features that stay as long as no job comes.

    Parameters
    ----------
    view : ShopFloor
        The shop.
    """

    def __init__(self, view: ShopFloor) -> None:
        self.num_jobs = len(view.jobs)
        num_rows, num_machines = len(view.operation), len(view.holds)
        self.lengths = np.zeros(num_rows, np.int64)
        width = max(len(job.route) for job in view.jobs.values())
        self.times = np.zeros((num_rows, width), np.float32)
        self.machines = np.zeros((num_rows, width), np.int64)
        for number, job in view.jobs.items():
            self.lengths[number] = len(job.route)
            for place, (machine, time_s) in enumerate(job.route):
                self.times[number, place], self.machines[number, place] = time_s, machine
        self.exists = np.arange(width) < self.lengths[:, None]
        scale = float(self.times[self.exists].mean())
        self.scale_s = scale if scale > 0 else 1.0
        self.times /= self.scale_s
        self.tails = self.times[:, ::-1].cumsum(axis=1)[:, ::-1]
        self.on = (self.machines[:, :, None] == np.arange(num_machines)) & self.exists[:, :, None]
        self.operations_left = (self.lengths[:, None] - np.arange(width)) / np.maximum(self.lengths[:, None], 1)

    def features(self, view: ShopFloor, asked: int) -> Features:
        """Return what there is to know when somebody is wanted for the machine `asked`.

        Returns
        -------
        dict of str to array
            ``"nodes"`` [jobs, places, features], ``"alive"`` and ``"current"`` [jobs, places] (what is a node; what
            each job is in or waits for), ``"on"`` [jobs, places, machines] (where nodes run).
        """
        place, places = np.array(view.operation)[:, None], np.arange(self.times.shape[1])
        runs = np.array(view.is_running)[:, None]
        current = self.exists & (places == place)
        blocking = (np.array(view.where)[:, None] != NOWHERE) & ~runs & (places == place - 1)
        alive = (self.exists & (places >= place)) | blocking
        on = self.on & alive[:, :, None]
        nodes = np.empty((*self.times.shape, NUM_FEATURES), np.float32)
        nodes[..., :4] = np.stack([places > place, current & ~runs, current & runs, blocking], axis=-1)
        nodes[..., 4] = self.times
        nodes[..., 5] = place / np.maximum(self.lengths[:, None], 1)
        nodes[..., 6] = self.operations_left
        nodes[..., 7:9] = self._progress(view, current, blocking)
        nodes[..., 9:11], nodes[..., 14] = self._machines(view)
        nodes[..., 11] = current & (self.machines == asked)
        nodes[..., 12] = self.tails / places.size
        nodes[..., 13] = self._loads(on & ~blocking[:, :, None])
        nodes *= alive[:, :, None]
        marks = {"alive": alive, "current": current, "on": on}
        return {"nodes": nodes} | {name: mark.astype(np.float32) for name, mark in marks.items()}

    def _progress(self, view: ShopFloor, current: Marks, blocking: Marks) -> Floats:
        """Return how long nodes have waited, and what processing time they have left."""
        runs, where = np.array(view.is_running), np.array(view.where)
        spent = (view.now_s - np.array(view.since_s)) / self.scale_s
        works = runs & ~np.array(view.is_down)[where]  # a job that stands nowhere does not run
        left = np.array(view.left_s) / self.scale_s - spent * works
        waited = (current | blocking) * (spent * ~runs)[:, None]
        ahead = np.where(current, left[:, None], self.times * ~blocking)
        return np.stack([waited, ahead], axis=-1).astype(np.float32)

    def _machines(self, view: ShopFloor) -> tuple[Marks, npt.NDArray[Any]]:
        """Return whether the machine of each node is down and free, and which share of jobs waits for it."""
        down = np.array(view.is_down)
        free = ~down & (np.array(view.holds) == NOWHERE)
        queues = np.array([len(queue) for queue in view.queues], np.float32) / len(self.times)
        return np.stack([down, free], axis=-1)[self.machines], queues[self.machines]

    def _loads(self, on: npt.NDArray[np.bool_]) -> Any:
        """Return the processing time that is left on the machine of each node, as a share of jobs."""
        flat = on.reshape(-1, on.shape[-1])
        return (self.times.ravel() @ flat)[self.machines] / len(on)
