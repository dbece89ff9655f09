"""Words of a robot cell: axes, robots, stations, glass that travels from station to station, picks and places."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds, Work

Kind = Literal["loader", "chamber", "buffer", "unloader"]


class Axis(Struct, frozen=True, forbid_unknown_fields=True):
    """One axis of a robot, which speeds up, holds its speed and slows down again.

    Parameters
    ----------
    top_speed : float
        In units (metres or radians) per second, > 0.
    acceleration : float
        Up and down, in units per second squared, > 0.

    Examples
    --------
    >>> Axis(top_speed=2.0, acceleration=1.0).travel_s(1.0)
    2.0
    """

    top_speed: float
    acceleration: float

    def travel_s(self, distance: float) -> Seconds:
        """How long a distance takes: a trapezium of speed over time, or a triangle where it is too short for one."""
        if distance >= self.top_speed**2 / self.acceleration:
            return distance / self.top_speed + self.top_speed / self.acceleration
        return 2.0 * math.sqrt(distance / self.acceleration)


class Robot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What carries glass.

    Parameters
    ----------
    num_hands : int
        1 or 2, each for one glass.
    turn, lift, reach : Axis
        Rotation in radians, height and extension in metres.
    travel : Axis or None
        Along a rail, in metres; None for a robot that stands.
    stroke_m : float
        By how much a hand rises under a glass, >= 0; 0.05.
    """

    num_hands: int = 1
    turn: Axis = Axis(2.0, 3.0)
    lift: Axis = Axis(0.5, 1.0)
    reach: Axis = Axis(1.5, 3.0)
    travel: Axis | None = None
    stroke_m: float = 0.05


class Station(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where glass comes in, is processed, rests or goes out.

    Parameters
    ----------
    id : str
        Unique in its cell.
    kind : str
        ``"loader"``, ``"chamber"``, ``"buffer"`` or ``"unloader"``.
    stage : int
        Of a chamber: which stage of the recipe it does, from 1; several may do the same.
    process_s : float
        Of a chamber: how long that takes as planned, in seconds, >= 0.
    angle_rad, height_m, depth_m, along_m : float
        Where it is, seen from the robot: direction, height, how far to reach, place along the rail.
    """

    id: Id
    kind: Kind
    stage: int = 0
    process_s: Seconds = 0.0
    angle_rad: float = 0.0
    height_m: float = 0.0
    depth_m: float = 1.0
    along_m: float = 0.0


class Cell(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A robot and its stations: one loader, one unloader, a chamber at least for every stage of the recipe.

    Parameters
    ----------
    robot : Robot
        Who carries.
    stations : tuple of Station
        In any order.
    """

    robot: Robot
    stations: tuple[Station, ...]

    @property
    def num_stages(self) -> int:
        """Stages of the recipe."""
        return max([station.stage for station in self.stations], default=0)

    def check(self) -> None:
        """Raise `ConfigError` with one sentence when such a cell cannot be."""
        kinds = [station.kind for station in self.stations]
        stages = {station.stage for station in self.stations if station.kind == "chamber"}
        rail = {station.along_m for station in self.stations}
        rules = {
            f"one loader and one unloader, got {kinds.count('loader')} and {kinds.count('unloader')}": (
                kinds.count("loader") == kinds.count("unloader") == 1
            ),
            f"chambers for all stages from 1, got stages {sorted(stages)}": (
                bool(stages) and stages == set(range(1, self.num_stages + 1))
            ),
            "stations of different names": len({station.id for station in self.stations}) == len(kinds),
            f"a robot with 1 or 2 hands, got {self.robot.num_hands}": self.robot.num_hands in (1, 2),
            f"stations at one place of the rail without a travel axis, got {len(rail)}": (
                self.robot.travel is not None or len(rail) == 1
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"cell: there must be {rule}. Mend its stations.")

    def move_s(self, origin: int, target: int) -> Seconds:
        """How long the robot takes from one station to another; its axes move at the same time."""
        one, other, robot = self.stations[origin], self.stations[target], self.robot
        turn = abs(one.angle_rad - other.angle_rad) % (2 * math.pi)
        rail = robot.travel.travel_s(abs(one.along_m - other.along_m)) if robot.travel is not None else 0.0
        rise = robot.lift.travel_s(abs(one.height_m - other.height_m))
        return max(robot.turn.travel_s(min(turn, 2 * math.pi - turn)), rise, rail)

    def handle_s(self, station: int) -> Seconds:
        """How long a pick or a place takes, once there: extend, lift or lower, retract."""
        reach = self.robot.reach.travel_s(self.stations[station].depth_m)
        return 2.0 * reach + self.robot.lift.travel_s(self.robot.stroke_m)


class Glass(Work, frozen=True, kw_only=True):
    """A sheet of glass that waits in the loader for its recipe."""


class Pick(Action, frozen=True, gc=False):
    """Go to a station, wait until its glass is done, and take it with a hand."""

    station: Id
    hand: int = 0

    @property
    def subject(self) -> Id:
        """The station."""
        return self.station


class Place(Action, frozen=True, gc=False):
    """Go to a station and put down there what a hand holds."""

    station: Id
    hand: int = 0

    @property
    def subject(self) -> Id:
        """The station."""
        return self.station


class RobotDone(Event, frozen=True, gc=False, kw_only=True):
    """The robot has picked or placed; where a glass leaves the cell by that, `Finished` comes instead."""

    station: Id


class Processed(Event, frozen=True, gc=False, kw_only=True):
    """A chamber is done with its glass."""

    station: Id
    id: Id
