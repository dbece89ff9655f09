"""The accelerators that come with Headway, and one's own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headway.core.errors import ConfigError, UnknownName
from headway.sim.serving.cost import Accelerator, accelerator_facts, accelerators

OWN = """
[desk]
bf16_flops = 100e12
memory_bytes = "16GB"
memory_bytes_per_s = 500e9
link_bytes_per_s = 16e9
network_bytes_per_s = 1e9
host_bytes_per_s = 16e9
tdp_watts = 200.0
idle_watts = 10.0
usd_per_h = 0.2
"""


@pytest.mark.parametrize("name", sorted(accelerators()))
def test_each_has_the_sources_of_its_figures(name: str) -> None:
    known = accelerators()[name]
    assert set(known.sources) == {"flops", "memory", "cores", "link", "network", "host", "power", "price"}
    assert known.fp8_flops in (0, pytest.approx(2 * known.bf16_flops, rel=0.02))
    assert 50 < known.bf16_flops / known.memory_bytes_per_s < 600 or name == "cpu-zen5-2"


def test_no_two_share_a_name() -> None:
    names = [name for one in accelerators().values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))


def test_aliases_and_spellings_lead_to_the_same() -> None:
    assert accelerator_facts("A100") is accelerator_facts("a100_80gb_sxm")
    assert accelerator_facts("h200").memory_bytes_per_s == 4.8e12


def test_an_unknown_name_gets_the_nearest_three() -> None:
    with pytest.raises(UnknownName, match=r"accelerator: 'h300' is not known\. Nearest: .*h200"):
        accelerator_facts("h300")


def test_eight_bits_are_fast_only_where_the_hardware_has_them() -> None:
    a100, h100 = accelerator_facts("a100"), accelerator_facts("h100")
    assert a100.flops("fp8") == a100.bf16_flops
    assert a100.arithmetic("fp8") == "bf16"
    assert h100.flops("fp8") == h100.fp8_flops
    assert h100.arithmetic("int4") == "bf16"


def test_ones_own_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(OWN)
    found = accelerator_facts(str(file))
    assert (found.name, found.memory_bytes) == ("desk", 16_000_000_000)
    assert accelerator_facts(found) is found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tdp_watts = 200.0", "tdp_watts must be given"),
        ("usd_per_h = 0.2", "usd_per_h must be given"),
    ],
)
def test_a_file_of_ones_own_without_a_figure_is_refused(tmp_path: Path, change: str, said: str) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(OWN.replace(change, ""))
    with pytest.raises(ConfigError, match=said):
        accelerator_facts(str(file))


def test_a_file_with_two_tables_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(OWN + OWN.replace("[desk]", "[other]"))
    with pytest.raises(ConfigError, match="must have one table"):
        accelerator_facts(str(file))


@pytest.mark.parametrize("field", ["bf16_flops", "memory_bytes_per_s", "link_bytes_per_s", "num_cores"])
def test_figures_must_be_positive(field: str) -> None:
    kept = msgspec.structs.asdict(accelerator_facts("a100"))
    with pytest.raises(ConfigError, match=f"{field} must be > 0"):
        Accelerator(**{**kept, field: 0})
    with pytest.raises(ConfigError, match="idle_watts"):
        Accelerator(**{**kept, "idle_watts": 500.0})
