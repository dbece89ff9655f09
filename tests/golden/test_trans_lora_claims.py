"""Trans-LoRA's claims in numbers: what was published, ours, and how far apart they are.

Source: Trans-LoRA 2024, arXiv 2405.17258; see `headway.app.reproduce.claims.tuning_trans_lora` for the settings and
`headway reproduce tuning/trans-lora` for all claims over more seeds.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims import trans_lora_live as live
from headway.app.reproduce.claims.trans_lora_virtual import stages


@functools.cache
def played(seed: int) -> Numbers:
    return stages(seed, True)


@pytest.mark.parametrize("seed", [0, 1])
def test_about_n_over_a_texts_are_generated(seed: int) -> None:
    assert played(seed)["trans-lora"]["drawn_over_expected"] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_left_beside_training_is_less_than_half_of_one_transfer_at_a_time(seed: int) -> None:
    found = played(seed)
    assert found["trans-lora"]["beyond_training_s"] < found["one-transfer"]["beyond_training_s"] / 1.5
    assert found["trans-lora"]["makespan_s"] < found["stage-by-stage"]["makespan_s"]


@pytest.mark.slow
def test_a_moved_adapter_is_better_than_the_old_one_and_than_other_texts() -> None:
    found = [live.accuracy(seed, False) for seed in (0, 4)]
    right = {who: np.mean([one[who]["right_frac"] for one in found]) for who in found[0]}
    assert right["moved"] > max(right["source"], right["target"])
    assert right["moved"] > right["unfiltered"] > right["seeds"]
    assert right["moved"] > right["random"]


@pytest.mark.slow
def test_it_is_moved_again_to_a_base_with_another_tokenizer() -> None:
    found = live.chain(4, False)
    assert found["twice"]["right_frac"] > found["target"]["right_frac"] + 0.2
