"""Robot cells to play with: drawn ones, a small one for contract checks, and the same with something hidden changed."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from headway.core.learning import Asking
from headway.core.nouns import Seconds
from headway.core.session import arrival_stream, truth_stream
from headway.policies.shop.glass_board import Layout
from headway.policies.shop.glass_bound import cycle_bound_s, robot_bound_s
from headway.policies.shop.glass_flow_robots import GlassFlowRobots
from headway.policies.shop.glass_nouns import Axis, Cell, Glass, Kind, Robot, Station
from headway.sim.shop.episodes import episode
from headway.sim.shop.glass_world import CellWorld, HiddenGlass

Region = Literal["transport", "process", "between"]
"""What limits a cell: its robot, its slowest chamber, or both alike."""
RAIL = Axis(1.5, 1.5)
WORK_FRACS: dict[Region, tuple[float, float]] = {
    "transport": (0.1, 0.5),
    "between": (0.7, 1.4),
    "process": (2.0, 3.0),
}
"""By region, how long the slowest stage processes, in robot work of a glass with one hand."""


def drawn_cell(
    rng: np.random.Generator,
    *,
    num_stages: int = 4,
    num_hands: int = 1,
    has_rail: bool = False,
    region: Region = "between",
    num_parallel: int = 1,
    num_buffers: int = 0,
) -> Cell:
    """Draw a cell: stations around the robot or along its rail, and how long chambers take.

    Parameters
    ----------
    rng : Generator
        Of directions, distances and process times; draws are the same for one hand and for two.
    num_stages : int
        Of the recipe, >= 1; 4.
    num_hands : int
        1 or 2; 1.
    has_rail : bool
        Whether the robot travels along stations on both sides of a rail, instead of standing among them.
    region : str
        Whether the robot or a chamber limits the cell; both are near the limit in ``"between"``.
    num_parallel : int
        Chambers of the slowest stage, >= 1; 1.
    num_buffers : int
        Stations where glass may rest, >= 0; 0.
    """
    slowest = int(rng.integers(1, num_stages + 1))
    shares = rng.uniform(0.4, 1.0, size=num_stages)
    shares[slowest - 1] = 1.0
    length = rng.uniform(*WORK_FRACS[region])
    chambers = [(f"chamber-{stage}", stage) for stage in range(1, num_stages + 1)]
    chambers += [(f"chamber-{slowest}{'bcdef'[nth]}", slowest) for nth in range(num_parallel - 1)]
    rests = [f"buffer-{nth}" for nth in range(num_buffers)]
    places = _places(rng, 2 + len(chambers) + len(rests), has_rail)
    kinds: list[tuple[str, Kind, int]] = [("loader", "loader", 0), ("unloader", "unloader", 0)]
    kinds += [(name, "chamber", stage) for name, stage in chambers]
    kinds += [(name, "buffer", 0) for name in rests]
    robot = Robot(num_hands=num_hands, travel=RAIL if has_rail else None)

    def made(work_s: Seconds) -> tuple[Station, ...]:
        return tuple(
            Station(id=name, kind=kind, stage=stage, process_s=work_s * shares[stage - 1] if stage else 0.0, **place)
            for (name, kind, stage), place in zip(kinds, places, strict=True)
        )

    plain = Layout(Cell(robot=Robot(num_hands=1, travel=robot.travel), stations=made(1e6)))
    return Cell(robot=robot, stations=made(length * robot_bound_s(plain) * num_parallel))


def _places(rng: np.random.Generator, num: int, has_rail: bool) -> list[dict[str, float]]:
    depths, heights, jitter = rng.uniform(0.8, 1.4, num), rng.choice([0.0, 0.3], num), rng.uniform(-0.2, 0.2, num)
    order = rng.permutation(num)
    if has_rail:
        turns, along = [0.0 if one % 2 else math.pi for one in order], [2.0 * (one // 2) + 1.0 for one in order]
    else:
        turns, along = [2 * math.pi * one / num + more for one, more in zip(order, jitter, strict=True)], [0.0] * num
    return [
        {"angle_rad": turn, "height_m": float(height), "depth_m": float(depth), "along_m": rail}
        for turn, height, depth, rail in zip(turns, heights, depths, along, strict=True)
    ]


def drawn_world(cell: Cell, num_glasses: int, seed: int, *, noise: float = 0.0, interval_s: Seconds = 0.0) -> CellWorld:
    """Let glass come to a cell.

    Parameters
    ----------
    cell : Cell
        The cell.
    num_glasses : int
        How many, >= 1.
    seed : int
        Of arrivals and of process times.
    noise : float
        Coefficient of variation of process times around their plan, >= 0; 0.
    interval_s : float
        Mean seconds between arrivals, exponential; 0 for a loader that is never empty before the end.
    """
    gaps = arrival_stream(seed).exponential(1.0, num_glasses) * interval_s
    arrivals = np.cumsum(gaps) - gaps[0]
    spread = math.sqrt(math.log1p(noise**2))
    stretch = np.exp(truth_stream(seed).normal(-(spread**2) / 2, spread, (num_glasses, cell.num_stages)))
    return CellWorld(
        cell,
        [
            HiddenGlass(
                glass=Glass(id=f"glass-{nth}", kind="glass", arrival_s=float(arrivals[nth])),
                stretch=tuple(stretch[nth].tolist()) if noise else (),
            )
            for nth in range(num_glasses)
        ],
    )


def learning_cell(seed: int) -> Cell:
    """Draw a cell of any kind that a network is to know: both robots, rails, parallel chambers, all regions."""
    rng = np.random.default_rng(seed)
    regions: tuple[Region, ...] = ("transport", "between", "process")
    return drawn_cell(
        rng,
        num_stages=int(rng.integers(2, 6)),
        num_hands=int(rng.integers(1, 3)),
        has_rail=bool(rng.random() < 0.4),
        region=regions[int(rng.integers(3))],
        num_parallel=int(rng.choice([1, 1, 2, 3])),
        num_buffers=int(rng.random() < 0.2),
    )


def start(seed: int, num_glasses: int = 24) -> Asking[float]:
    """Begin an episode of a drawn cell, for learners; its rewards are explained at `reward`."""
    rng = np.random.default_rng([seed, 1])
    world = drawn_world(learning_cell(seed), num_glasses, seed, noise=float(rng.choice([0.0, 0.1, 0.3])))
    cycle_s = cycle_bound_s(world.view.layout)
    return episode(world, GlassFlowRobots(), lambda one: reward(one, cycle_s), seed=seed)


def reward(world: CellWorld, cycle_s: Seconds) -> float:
    """What has come in: one for each glass that left, less the time so far in cycles of the cell at its best."""
    return world.view.num_finished - world.view.now_s / cycle_s


def small_world(seed: int, later: float = 1.0) -> tuple[CellWorld, None]:
    """Make a world small enough for contract checks: two hands, three stages, one of them with two chambers.

    Parameters
    ----------
    seed : int
        Of everything.
    later : float
        By how much process times of glass that arrives when the first has left are stretched, > 0; nothing visible
        tells before.

    Returns
    -------
    (CellWorld, None)
        The world; it has no accounts of its own.
    """
    cell = drawn_cell(np.random.default_rng(seed), num_stages=3, num_hands=2, region="between", num_parallel=2)
    total_s = sum(station.process_s for station in cell.stations)
    rng = truth_stream(seed)
    glasses = []
    for nth in range(8):
        at_s, stretch = (0.0, rng.uniform(0.9, 1.1, 3)) if nth < 3 else (nth * 10 * total_s, rng.uniform(0.5, 2.0, 3))
        glass = Glass(id=f"glass-{nth}", kind="glass", arrival_s=at_s)
        factor = later if nth >= 3 else 1.0
        glasses.append(HiddenGlass(glass=glass, stretch=tuple((factor * stretch).tolist())))
    return CellWorld(cell, glasses), None


def lying_world(seed: int) -> CellWorld:
    """Make the small world of a seed whose late glass takes longer; it looks the same until the first has left."""
    return small_world(seed, later=3.0)[0]
