"""Files of instances in whichever format they are."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from headway.core.errors import ConfigError, unknown_name
from headway.policies.shop.checking import check
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances import flexible, job_shops, json_rows, projects, tardiness
from headway.sim.shop.instances.words import lines, wrong

FORMATS = (
    "job shop (machine and duration pairs, or Taillard's tables), .fjs, PSPLIB .sm and .mm, Patterson .rcp, "
    "OR-Library wt40.txt, flow shop, .json and .jsonl; each also with .gz"
)


def read(path: str | os.PathLike[str], name: str = "") -> Problem | list[Problem]:
    """Read the instances of a file.

    The format is found by the file's ending and by what is in it: job shops in the usual form, in Taillard's, or in
    OR-Library's collection; flow shops of Taillard's; flexible job shops (``.fjs``); projects of PSPLIB (``.sm``,
    ``.mm``) and Patterson (``.rcp``); weighted tardiness of OR-Library (``wt40.txt``); JSON, one instance or many.

    Parameters
    ----------
    path : path
        The file, gzipped or not; ``FILE:NAME`` takes one instance of a collection.
    name : str
        The instance that is wanted; empty for all.

    Returns
    -------
    Problem or list of Problem
        One where the file has one, or where a name is given.

    Raises
    ------
    ConfigError
        When the file cannot be read or makes no sense; the message has the line.
    UnknownName
        When the file has no instance of that name.

    Examples
    --------
    >>> from headway.sim.shop.instances.shipped import shipped
    >>> read(shipped()["ft06"]).num_tasks
    36
    """
    file, name = _split(path, name)
    found = _parsed(str(file), _stem(file), _ending(file), _text(file))
    problems = found if isinstance(found, list) else [found]
    if not problems:
        raise wrong(str(file), "it must hold an instance", "none")
    wanted = _named(file, problems, name)
    for problem in wanted:
        try:
            check(problem)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
    return wanted[0] if len(wanted) == 1 else wanted


def read_one(path: str | os.PathLike[str], name: str = "") -> Problem:
    """Read one instance; as `read`, but of a collection one must be named.

    Raises
    ------
    ConfigError
        When the file has several and none is named.
    """
    found = read(path, name)
    if isinstance(found, Problem):
        return found
    some = ", ".join(problem.name for problem in found[:3])
    advice = f"Name it, as {path}:{found[0].name}"
    raise wrong(str(path), "one instance must be meant", f"a file of {len(found)} ({some}, ...)", advice=advice)


def _split(path: str | os.PathLike[str], name: str) -> tuple[Path, str]:
    file = Path(path)
    if not name and not file.exists() and ":" in file.name:
        before, _, name = str(path).rpartition(":")
        file = Path(before)
    return file, name


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").rsplit(".", 1)[0]


def _ending(file: Path) -> str:
    parts = file.name.removesuffix(".gz").lower().rsplit(".", 1)
    return parts[1] if len(parts) == 2 else ""


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise wrong(str(file), "it must be a file that can be read", reason, advice="Check the path") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise wrong(str(file), "it must be text", "binary data", advice=f"Known are: {FORMATS}")
    if not text.strip():
        raise wrong(str(file), "it must hold an instance", "an empty file", advice=f"Known are: {FORMATS}")
    return text


def _parsed(where: str, name: str, ending: str, text: str) -> Problem | list[Problem]:
    if ending in ("json", "jsonl") or text.lstrip()[:1] in ("{", "["):
        return json_rows.read_json(where, name, text)
    if projects.is_psplib(text):
        return projects.read_psplib(where, name, text)
    source = lines(text)
    by_ending: dict[str, Callable[[], Problem]] = {
        "fjs": lambda: flexible.read_flexible(where, name, source),
        "rcp": lambda: projects.read_patterson(where, name, source),
    }
    if ending in by_ending:
        return by_ending[ending]()
    if tardiness.num_jobs(name):
        return tardiness.read_tardiness(where, name, source)
    return job_shops.read_text(where, name, text)


def _named(file: Path, problems: list[Problem], name: str) -> list[Problem]:
    if not name:
        return problems
    found = [problem for problem in problems if problem.name == name]
    if not found:
        raise unknown_name(f"{file}: instance", name, (problem.name for problem in problems))
    return found[:1]
