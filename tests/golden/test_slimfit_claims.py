"""SlimFit's claims in numbers: what was published, ours, and how far apart they are.

Source: Ardakani et al. 2023, arXiv 2305.18513; see `headway.app.reproduce.claims.tuning_slimfit` for the settings and
`headway reproduce tuning/slimfit` for all claims over more seeds.
"""

from __future__ import annotations

import pytest

from headway.app.reproduce.claims import slimfit_live, slimfit_settings
from headway.app.reproduce.claims.tuning_slimfit import accuracies


@pytest.mark.parametrize("seed", [0, 1])
def test_memory_falls_by_about_as_much_as_published(seed: int) -> None:
    found = slimfit_settings.memory(seed, quick=True)
    assert 2.2 < found["slimfit"]["mean_saving"] < 2.2 * 1.5
    assert 3.1 < found["slimfit"]["most_saving"] < 3.1 * 2
    assert 2.2 / 1.25 < found["slimfit"]["glue_saving"] < 2.2 * 1.25
    assert 1.5 < found["slimfit-over-fused"]["least_saving"] < found["slimfit"]["least_saving"]


def test_one_gpu_where_there_were_three_and_two() -> None:
    found = slimfit_settings.devices(0, quick=True)
    assert (found["full"]["num_gpus_imagenet"], found["full"]["num_gpus_squad"]) == (3, 2)
    assert (found["slimfit"]["num_gpus_imagenet"], found["slimfit"]["num_gpus_squad"]) == (1, 1)


@pytest.mark.slow
def test_a_live_process_takes_less_than_half() -> None:
    found = slimfit_live.memory(0, quick=False)
    for shape in ("bert", "vit"):
        peak = {who: numbers[f"{shape}_peak_bytes"] for who, numbers in found.items()}
        saved = {who: numbers.get(f"{shape}_saved_bytes", 0.0) for who, numbers in found.items()}
        assert 2.2 / 1.5 < peak["full"] / peak["slimfit"] < 2.2 * 2
        assert saved["full"] > 3 * saved["slimfit"]
        assert saved["frozen"] > 2 * saved["slimfit"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["bert", "vit"])
def test_units_chosen_by_change_learn_nearly_as_much_as_all(shape: str) -> None:
    right = {who: numbers["accuracy_frac"] for who, numbers in accuracies(shape, 0, quick=False).items()}
    assert right["full"] > 0.85
    assert right["full"] - 0.15 < right["slimfit"] < right["whole-norms"] + 0.02
    assert right["whole-norms"] > right["full"] - 0.07
