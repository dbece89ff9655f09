"""The catalogue: rows, files and tests belong together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import headway
from headway.core import catalogue
from headway.core.errors import ConfigError, UnknownName
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack

SOURCE = Path(headway.__file__).parent
TESTS = Path(__file__).parents[1]
SHARED = {
    "__init__",
    "acceptance",
    "accounts",
    "adapters",
    "aibrix_gateway",
    "aibrix_lora",
    "aibrix_prefix",
    "aibrix_route",
    "aibrix_scale",
    "aibrix_slo",
    "apart",
    "beside",
    "board",
    "cohort",
    "composed",
    "copies",
    "draft",
    "fair_counters",
    "feasible",
    "harli_predictor",
    "hexgen_replay",
    "intelligence_metrics",
    "jobs",
    "kv",
    "kv_pool",
    "lanes",
    "latency_laws",
    "lending",
    "length_laws",
    "length_sources",
    "lending_plan",
    "lent_memory",
    "lengths",
    "llumnix_load",
    "llumnix_migration",
    "llumnix_pairs",
    "llumnix_scale",
    "lorafusion_board",
    "lorafusion_groups",
    "lorafusion_merge",
    "lorafusion_nouns",
    "lorafusion_plan",
    "lorafusion_rule",
    "lorafusion_slices",
    "lsp_offload_board",
    "lsp_offload_log",
    "lsp_offload_nouns",
    "lsp_offload_order",
    "lsp_offload_plan",
    "memory",
    "nanoflow_order",
    "nanoflow_plan",
    "nanoflow_search",
    "nanoflow_shares",
    "nouns",
    "observed",
    "oracle_plan",
    "pace",
    "partition",
    "pins",
    "pools",
    "power_news",
    "promises",
    "recompute",
    "room",
    "seats",
    "share",
    "slack",
    "slimfit_board",
    "slimfit_nouns",
    "slimfit_schedule",
    "slos_admission",
    "slos_batch",
    "slos_budget",
    "slos_lines",
    "slos_planner",
    "splitwise_batch",
    "splitwise_handover",
    "splitwise_pools",
    "stack",
    "stage_times",
    "state",
    "survey",
    "trans_lora_baselines",
    "trans_lora_board",
    "trans_lora_draft",
    "trans_lora_draws",
    "trans_lora_nouns",
    "trans_lora_state",
    "ttl",
    "wrap",
}  # fmt: skip
"""Files of a family that are no mechanisms."""


def test_every_row_has_a_file_and_a_test() -> None:
    for row in catalogue.rows():
        name = row.id.partition("/")[2].replace("-", "_")
        assert (SOURCE / "policies" / row.family / f"{name}.py").is_file(), f"{row.id} has no file"
        assert (TESTS / "policies" / row.family / f"test_{name}.py").is_file(), f"{row.id} has no test"


def test_every_mechanism_file_has_a_row() -> None:
    known = {row.id.replace("-", "_") for row in catalogue.rows()}
    for family in catalogue.families():
        for file in (SOURCE / "policies" / family).glob("*.py"):
            assert file.stem in SHARED or f"{family}/{file.stem}" in known, f"{file.name} has no row"


def test_rows_are_found_by_id_and_family() -> None:
    assert {"serving/orca", "serving/vllm", "serving/sarathi"} <= {row.id for row in catalogue.rows("serving")}
    assert catalogue.find("serving/sarathi").arxiv == "2403.02310"
    assert catalogue.load("serving/sarathi") is SarathiServe


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Nearest: serving/sarathi"):
        catalogue.find("serving/sarathy")
    with pytest.raises(UnknownName, match="headway list families"):
        catalogue.rows("serfing")


def test_a_seat_is_built_as_a_whole_policy() -> None:
    policy = catalogue.build("serving/sarathi", {"token_budget": "1k"})
    assert isinstance(policy, Stack)
    assert policy.name == "serving/sarathi"
    assert isinstance(policy.batch, SarathiServe)
    assert policy.batch.token_budget == 1000


def test_bad_parameters_are_named_with_the_policy() -> None:
    with pytest.raises(ConfigError, match=r"serving/sarathi: parameter: 'token_buget'.*token_budget"):
        catalogue.build("serving/sarathi", {"token_buget": 1})


def test_listing_imports_no_mechanism_and_no_torch() -> None:
    code = (
        "import sys; from headway.core import catalogue; assert catalogue.rows(); "
        "heavy = ('torch', 'transformers'); "
        "bad = [m for m in sys.modules if m.startswith('headway.policies.serving.') or m in heavy]; "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text('[family]\nname = "x"\nabout = "y"\ncolour = "blue"\n')
    with pytest.raises(ConfigError, match="colour"):
        catalogue._read(tmp_path / "catalogue.toml")


def test_what_mechanisms_need_is_known_through_their_parts() -> None:
    assert catalogue.needs("serving/sarathi") == set()
    assert catalogue.needs("serving/layered-prefill") == {"layer_ranges"}
    parts = {"batch": {"id": "serving/layered-prefill"}, "route": "serving/prefix-route"}
    assert catalogue.needs("serving/stack", parts) == {"layer_ranges"}
