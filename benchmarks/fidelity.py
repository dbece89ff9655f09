"""How true is virtual time? One part per kind of truth.

    python benchmarks/fidelity.py live [--json]                    # the live engine, calibrated and replayed
    python benchmarks/fidelity.py recorded FILE [--meta FILE] [--json]  # recorded runs of GPU servers
    python benchmarks/fidelity.py closed [--json]                  # queueing formulas
    python benchmarks/fidelity.py endpoints TABLE [--json]         # measured TTFT and TPOT of servers
    python benchmarks/fidelity.py kernels FOLDER [--json]          # measured kernels, steps and memory

Each part is a module of `benchmarks/fidelity/` with ``add(subparsers)``, which declares its arguments, ``run(args)``,
which returns all that was found, and ``show(found)``, which prints it for people.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from importlib.util import find_spec

from headway.core.errors import HeadwayError

PARTS = ("live", "vllm", "recorded", "closed", "endpoints", "kernels")


def main() -> int:
    """Run one part and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = parser.add_subparsers(dest="part", required=True)
    parts = {name: import_module(f"fidelity.{name}") for name in PARTS if find_spec(f"fidelity.{name}")}
    for part in parts.values():
        part.add(choices)
    args = parser.parse_args()
    part = parts[args.part]
    try:
        found = part.run(args)
    except HeadwayError as error:
        print(error, file=sys.stderr)
        return 2
    if getattr(args, "json", False):
        print(json.dumps(found))
    elif hasattr(part, "show"):
        part.show(found)
    else:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
