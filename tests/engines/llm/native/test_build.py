from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headway.engines.llm.native import Kernels, build

_CHOOSE = "from headway.engines.llm.native import kernels; k = kernels(); print(k.name, '|', k.why)"


def _choose(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _CHOOSE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


@pytest.mark.slow
def test_the_switch_gives_the_twins_and_one_line_says_so() -> None:
    done = _choose(HEADWAY_NATIVE="0")
    assert done.stdout.strip() == "torch | HEADWAY_NATIVE=0 switches them off"
    assert done.stderr.count("C++ kernels are not in use") == 1


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(build, "cpu_flags", lambda: build.NEEDED_CPU_FLAGS)
    with pytest.raises(build.CannotBuild, match="no no-such-compiler was found"):
        build.load()


def test_an_older_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cpu_flags", lambda: build.NEEDED_CPU_FLAGS - {"avx512_bf16"})
    with pytest.raises(build.CannotBuild, match="this processor lacks avx512_bf16"):
        build.load()


def test_a_failed_build_is_a_reason_and_not_a_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "sources", lambda: [broken])
    monkeypatch.setattr(build, "cpu_flags", lambda: build.NEEDED_CPU_FLAGS)
    with pytest.raises(build.CannotBuild, match="the build failed"):
        build.load()


def test_the_cache_folder_follows_the_sources(native: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.build_folder()
    assert build.build_folder() == before
    monkeypatch.setattr(build, "sources", list)
    assert build.build_folder() != before


def test_kernels_that_came_with_a_wheel_need_no_compiler(native: Kernels, tmp_path: Path) -> None:
    assert native.name == "native"
    wheels = tmp_path / "prebuilt"
    wheels.mkdir()
    shutil.copy(build.build_folder() / f"{build.NAME}.so", wheels / build.prebuilt().name)
    code = (
        "import sys, pathlib; from headway.engines.llm.native import build, kernels; "
        "build.PREBUILT = pathlib.Path(sys.argv[1]); print(kernels().name, kernels().why)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(wheels)],
        env={**os.environ, "CXX": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "native"
    assert not (tmp_path / "cache").exists()
