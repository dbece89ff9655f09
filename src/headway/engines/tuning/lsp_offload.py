"""LSP-Offload in real time: four threads that compute, send, update and send back, in the order of a policy."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import torch
from msgspec import Struct
from torch import Tensor

from headway.core.actions import Action, Start
from headway.core.drivers import tell
from headway.core.errors import ConfigError, EngineError
from headway.core.events import Arrived, Event, Finished, Started
from headway.core.nouns import Amounts, Resource, Seconds
from headway.core.policy import Policy
from headway.core.report import Report
from headway.core.session import Session
from headway.engines.tuning.lsp_offload_adam import HostAdam
from headway.engines.tuning.lsp_offload_layers import Layered, facts
from headway.engines.tuning.lsp_offload_link import Link
from headway.engines.tuning.lsp_offload_sides import DeviceSide, HostSide, Parcel
from headway.policies.tuning.lsp_offload_board import OffloadBoard
from headway.policies.tuning.lsp_offload_log import OffloadLog, Ran
from headway.policies.tuning.lsp_offload_nouns import LANES, Begin, Lane, OffloadJob, OffloadView, Op, OpDone

JOB = "tune"


class Rates(Struct, frozen=True, kw_only=True):
    """How fast the lanes are, as far as the policy is told and as the links are held to.

    Parameters
    ----------
    down_bytes_per_s, up_bytes_per_s : float
        Of the links, > 0; infinite leaves a link as fast as memory is.
    memory_bytes_per_s : float
        Of the accelerator's memory, > 0; 1e10.
    params_per_s : float
        How many parameters the host updates by Adam, > 0; 2e8.
    forward_s, backward_s : float
        What one layer's passes are expected to take, in seconds, >= 0; 0.01 and 0.02. `measured` finds them out.
    """

    down_bytes_per_s: float = math.inf
    up_bytes_per_s: float = math.inf
    memory_bytes_per_s: float = 1e10
    params_per_s: float = 2e8
    forward_s: Seconds = 0.01
    backward_s: Seconds = 0.02


class Offloaded(Struct, frozen=True, kw_only=True):
    """What an offloaded fine-tuning came to.

    Parameters
    ----------
    losses : list of float
        By step, before its update.
    log : OffloadLog
        Every operation with its times and bytes.
    report : Report
        Of the policy's session.
    form : Begin
        In which form gradients travelled.
    projector_bytes, host_bytes : int
        What projectors occupy on the accelerator, and the optimizer's moments on the host.
    """

    losses: list[float]
    log: OffloadLog
    report: Report
    form: Begin
    projector_bytes: int
    host_bytes: int


class OffloadEngine:
    """Fine-tunes the layers of a model with the optimizer on the host.

    Parameters
    ----------
    model : Layered
        What is trained, on its device.
    batches : callable of (step) -> Tensor
        The batch of a step, on the same device.
    policy : Policy
        Who decides what runs next on each lane, and in which form gradients travel: the same object as in virtual time.
    num_steps : int
        Optimizer steps, >= 1.
    learning_rate : float
        At the start, > 0; it falls linearly to 0.
    rates : Rates
        Of the lanes.
    seed : int
        Of projectors and policy; 0.
    num_threads : int
        Threads with which each side computes, >= 0; 1, so that both can compute at once on two cores. 0 leaves them.

    Notes
    -----
    Source: Chen et al., arXiv 2406.10181; see `headway.policies.tuning.lsp_offload.LspOffload`. Gradients are not
    clipped, for the norm over all layers is not known before the last is computed.

    Examples
    --------
    >>> from torch import nn
    >>> from headway.engines.tuning.lsp_offload_layers import StackLayers
    >>> from headway.policies.tuning.lsp_offload import LspOffload
    >>> model = StackLayers([nn.Linear(64, 64) for _ in range(3)], num_inputs=64)
    >>> engine = OffloadEngine(
    ...     model, lambda step: torch.ones(4, 128), LspOffload(learn_steps=5), num_steps=3, learning_rate=1e-2
    ... )
    >>> found = engine.run()
    >>> len(found.losses), found.form.width, found.log.num_bytes["up"]  # 3 steps x 3 layers x (32 x 32 + 64) x 4 bytes
    (3, 32, 39168)
    """

    def __init__(
        self,
        model: Layered,
        batches: Callable[[int], Tensor],
        policy: Policy[OffloadView],
        *,
        num_steps: int,
        learning_rate: float,
        rates: Rates | None = None,
        seed: int = 0,
        num_threads: int = 1,
    ) -> None:
        if num_steps < 1 or not learning_rate > 0:
            raise ConfigError(
                f"lsp-offload: num_steps must be >= 1 and learning_rate > 0, got {num_steps} and {learning_rate}. "
                "Try 100 and 1e-3."
            )
        self.rates = rates or Rates()
        self._model, self._batches, self._seed = model, batches, seed
        weight = next(model.layers[0].parameters())
        layers = tuple(facts(layer, self.rates.forward_s, self.rates.backward_s) for layer in model.layers)
        self.job = OffloadJob(
            id=JOB, arrival_s=0.0, layers=layers, num_steps=num_steps, param_bytes=weight.element_size()
        )  # fmt: skip
        self.board = OffloadBoard(_lanes(self.rates))
        self.log = OffloadLog()
        self._session = Session(policy, self.board, seed=seed)
        self._host = HostSide(HostAdam(learning_rate, num_steps=num_steps))
        self._device: DeviceSide | None = None
        self._down = Link(torch.device("cpu"), self.rates.down_bytes_per_s)
        self._up = Link(weight.device, self.rates.up_bytes_per_s)
        self._parcels: dict[int, Parcel] = {}  # by layer, wherever it is on its way
        self._queues: dict[Lane, SimpleQueue[Op | None]] = {lane: SimpleQueue() for lane in LANES}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._failure: BaseException | None = None
        self._num_threads = num_threads
        self._start_s = 0.0

    def run(self) -> Offloaded:
        """Train to the end.

        Raises
        ------
        EngineError
            When a loss is not finite, or anything else goes wrong on a lane.
        """
        before = torch.get_num_threads()
        workers = [threading.Thread(target=self._work, args=(lane,), name=f"offload-{lane}") for lane in LANES]
        self._start_s = time.perf_counter()
        for worker in workers:
            worker.start()
        try:
            self._tell(Arrived(at_s=0.0, work=self.job), before=lambda: self.board.add(self.job))
            self._over.wait()
        finally:
            for queue in self._queues.values():
                queue.put(None)
            for worker in workers:
                worker.join()
            torch.set_num_threads(before)
        return self._outcome()

    # Events and actions ----------------------------------------------------------------------------------------------

    def _tell(self, event: Event, before: Callable[[], object] = lambda: None) -> None:
        """Tell the policy of an event and carry out its answer; whichever thread brings news holds the lock."""
        with self._lock:
            self.board.now_s = event.at_s
            before()
            try:
                tell(self._session, event, self._apply)
            except Exception as error:
                self._fail(error)
            if self.board.is_stuck:
                self._fail(EngineError(f"nothing runs after {type(event).__name__}. Choose another policy"))

    def _apply(self, action: Action) -> str | None:
        why = self.board.apply(action)
        if why is None and isinstance(action, Begin):
            self._device = DeviceSide(self._model, self._batches, action, self._seed)
            tell(self._session, Started(at_s=self.board.now_s, id=action.id), self._apply)
        elif why is None and isinstance(action, Start):
            for lane in LANES:
                if lane in action.on:
                    self._queues[lane].put(self.board.running(lane))
        return why

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._over.set()

    # Lanes -----------------------------------------------------------------------------------------------------------

    def _work(self, lane: Lane) -> None:
        if self._num_threads:
            torch.set_num_threads(self._num_threads)
        while (op := self._queues[lane].get()) is not None and not self._over.is_set():
            try:
                self._run(op)
            except Exception as error:
                self._fail(error)
                return

    def _run(self, op: Op) -> None:
        start_s, sent = self._now_s(), self._down.num_bytes if op.what == "down" else self._up.num_bytes
        bias_frac = self._do(op)
        if op.lane == "gpu" and self._up.target.type == "cuda":
            torch.cuda.current_stream(self._up.target).synchronize()
        end_s = self._now_s()
        link = {"down": self._down, "up": self._up}.get(op.what)
        ran = Ran(op, start_s, end_s, link.num_bytes - sent if link else 0)
        over: list[bool] = []

        def enter() -> None:
            self.log.add(ran)
            over.append(self.board.finish(op, bias_frac))

        self._tell(OpDone(at_s=end_s, op=op, took_s=end_s - start_s, bias_frac=bias_frac), enter)
        if over == [True]:
            self._tell(Finished(at_s=self._now_s(), id=op.job))
            self._over.set()

    def _do(self, op: Op) -> float:
        """Carry out an operation; returns the bias where it finds one."""
        device, layer = self._device, op.layer
        if device is None:
            raise EngineError("lsp-offload: a job must begin before its operations do. Let the policy begin it.")
        if op.what == "forward":
            device.forward(layer, op.step)
        elif op.what == "backward":
            device.backward(layer)
        elif op.what == "check":
            return device.bias_frac(layer)
        elif op.what == "learn":
            return device.learn(layer)
        elif op.what == "apply":
            device.apply(layer, self._parcels.pop(layer))
        else:
            self._carry(op, device)
        return math.nan

    def _carry(self, op: Op, device: DeviceSide) -> None:
        """Bring a layer's gradients down or its updates up, or turn the one into the other."""
        layer = op.layer
        if op.what == "compress" or (op.what == "down" and not device.form.width):
            self._parcels[layer] = device.compress(layer)
        if op.what == "update":
            self._parcels[layer] = self._host.update(layer, op.step, self._parcels[layer])
        elif op.what in ("down", "up"):
            parcel, link = self._parcels[layer], self._down if op.what == "down" else self._up
            self._parcels[layer] = dict(zip(parcel, link.send(list(parcel.values())), strict=True))

    def _now_s(self) -> Seconds:
        return time.perf_counter() - self._start_s

    def _outcome(self) -> Offloaded:
        if self._failure is not None:
            raise EngineError(f"lsp-offload: training stopped: {self._failure}") from self._failure
        if self._device is None:
            raise EngineError("lsp-offload: the policy must begin the job, it did nothing. Choose another policy.")
        return Offloaded(
            losses=self._device.losses,
            log=self.log,
            report=self._session.close(),
            form=self._device.form,
            projector_bytes=self._device.num_projector_bytes,
            host_bytes=self._host.adam.num_bytes,
        )


def _lanes(rates: Rates) -> Sequence[Resource]:
    traits: dict[Lane, Amounts] = {
        "gpu": {"memory_bytes_per_s": rates.memory_bytes_per_s},
        "down": {"bytes_per_s": rates.down_bytes_per_s},
        "cpu": {"params_per_s": rates.params_per_s},
        "up": {"bytes_per_s": rates.up_bytes_per_s},
    }
    return [Resource(id=lane, kind=lane, capacity={"slot": 1.0}, traits=found) for lane, found in traits.items()]
