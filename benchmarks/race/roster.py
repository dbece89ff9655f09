"""Who runs: the contenders, what each needs, and how a stranger installs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entrant:
    """One contender.

    Parameters
    ----------
    name : str
        Its name on the scoreboard and for ``--only``.
    peer : str
        Whose interpreter it runs in, for ``--python``.
    script : str
        Its file in `benchmarks/peers`.
    kind : str
        Number format of the weights, ``"bf16"`` or ``"int8"``.
    module : str
        What must be importable there.
    pip : str
        The line that installs it.
    options : dict
        What its file is told besides.
    """

    name: str
    peer: str
    script: str
    kind: str
    module: str
    pip: str
    options: dict[str, Any] = field(default_factory=dict)


_HEADWAY = "pip install -e '.[serve]' -c constraints/py311-cpu.txt"
_PINS = "-c constraints/py311-bench.txt"
_OPENVINO = f"pip install openvino-genai 'optimum-intel[openvino]' nncf {_PINS}"
_LLAMA = f"pip install llama-cpp-python gguf {_PINS}"

ROSTER = (
    Entrant("headway", "headway", "headway_runner.py", "bf16", "headway", _HEADWAY, {"native": True}),
    Entrant("headway-torch", "headway", "headway_runner.py", "bf16", "headway", _HEADWAY, {"native": False}),
    Entrant("headway-int8", "headway", "headway_runner.py", "int8", "headway", _HEADWAY, {"native": True}),
    Entrant("transformers", "transformers", "hf_generate.py", "bf16", "transformers", _HEADWAY),
    Entrant("openvino", "openvino", "openvino_batching.py", "bf16", "openvino_genai", _OPENVINO),
    Entrant("openvino-int8", "openvino", "openvino_batching.py", "int8", "openvino_genai", _OPENVINO),
    Entrant("vllm", "vllm", "vllm_cpu.py", "bf16", "vllm", "make vllm"),
    Entrant("llamacpp", "llamacpp", "llama_cpp_batch.py", "bf16", "llama_cpp", _LLAMA),
    Entrant("llamacpp-q8", "llamacpp", "llama_cpp_batch.py", "int8", "llama_cpp", _LLAMA),
)
PEERS = tuple(dict.fromkeys(entrant.peer for entrant in ROSTER))


def interpreters(given: list[str]) -> dict[str, str]:
    """Say which Python each peer runs in: ``PEER=PATH`` options, then ``HEADWAY_BENCH_PYTHON_PEER``, then this one."""
    found = {peer: os.environ.get(f"HEADWAY_BENCH_PYTHON_{peer.upper()}", sys.executable) for peer in PEERS}
    for item in given:
        peer, _, path = item.partition("=")
        if peer not in found or not path:
            raise SystemExit(f"--python: must be PEER=PATH with PEER one of {', '.join(PEERS)}, got {item!r}.")
        found[peer] = path
    return found


def chosen(only: str, quantize: str) -> list[Entrant]:
    """Pick contenders by name (comma-separated; empty for all) and by number format."""
    names = {entrant.name for entrant in ROSTER}
    wanted = {name.strip() for name in only.split(",") if name.strip()} or names
    if wanted - names:
        raise SystemExit(
            f"--only: must name some of {', '.join(sorted(names))}, got {', '.join(sorted(wanted - names))}."
        )
    kinds = {"": ("bf16", "int8"), "none": ("bf16",), "int8": ("int8",)}[quantize]
    return [entrant for entrant in ROSTER if entrant.name in wanted and entrant.kind in kinds]


def is_present(entrant: Entrant, python: str) -> bool:
    """Tell whether the interpreter has what the contender needs."""
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({entrant.module!r}) is None)"
    try:
        return subprocess.run([python, "-c", probe], check=False, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False
