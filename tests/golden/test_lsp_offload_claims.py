"""LSP-Offload's claims in numbers: what was published, ours, and how far apart they are.

Source: Chen et al., AAAI 2025, arXiv 2406.10181; see `headway.app.reproduce.claims.tuning_lsp_offload` for the settings
and `headway reproduce tuning/lsp-offload` for all claims over more seeds. Times are those of virtual time; live, only
what no busy machine can change is held fast here: bytes, biases and losses.
"""

from __future__ import annotations

import pytest

from headway.app.reproduce.claims import lsp_offload_live as live
from headway.app.reproduce.claims import lsp_offload_virtual as virtual


@pytest.mark.parametrize("seed", [0, 1])
def test_offloading_a_7b_model_slows_it_down_as_published(seed: int) -> None:
    found = virtual.table(("zero", "zero-layers", "lsp-phases", "lsp", "lsp-4"), seed, True)
    slowdown = {who: numbers["slowdown"] for who, numbers in found.items()}
    assert 1.93 < slowdown["zero"] < 4.28
    assert slowdown["lsp"] == pytest.approx(1.31, abs=0.1)
    assert 1.1 < slowdown["lsp-4"] < slowdown["lsp"] < slowdown["lsp-phases"] < slowdown["zero"]
    assert slowdown["lsp"] < slowdown["zero-layers"] < slowdown["zero"]
    assert slowdown["lsp-phases"] / slowdown["lsp"] == pytest.approx(1.18, abs=0.18)
    assert found["zero"]["sent_bytes"] == pytest.approx(2 * 6.48e9, rel=0.01)
    assert found["lsp"]["sent_bytes"] / found["zero"]["sent_bytes"] == pytest.approx(2048**2 * 7 / 202.4e6, rel=0.01)


def test_the_span_over_links_and_hosts_is_the_published_one() -> None:
    found = virtual.span(("zero", "lsp"), 0, True)
    assert found["zero"]["least_slowdown"] == pytest.approx(1.93, abs=0.3)
    assert found["zero"]["most_slowdown"] == pytest.approx(4.28, abs=0.6)
    assert 1.1 < found["lsp"]["least_slowdown"] <= found["lsp"]["most_slowdown"] < 1.35


def test_the_chosen_width_is_the_published_one_for_a_model_of_this_size() -> None:
    one, other = (virtual.play(who, 0, True) for who in ("lsp", "lsp-chosen"))
    assert one["sent_bytes"] == other["sent_bytes"]  # 2048, half of the hidden size


@pytest.mark.slow
def test_learnt_projectors_have_less_bias_than_random_ones_on_real_gradients() -> None:
    found = live.biases(0, False)
    assert found["learnt-8"]["bias_frac"] < 0.7 < found["scaled-8"]["bias_frac"] < 1 < found["random-8"]["bias_frac"]
    assert found["learnt-8"]["next_bias_frac"] < found["scaled-8"]["bias_frac"]
    assert found["learnt-16"]["bias_frac"] < found["learnt-8"]["bias_frac"] < found["learnt-4"]["bias_frac"]


@pytest.mark.slow
def test_the_loss_is_that_of_whole_gradients_with_a_third_of_the_bytes() -> None:
    found = [live.losses(seed, False) for seed in (0, 1)]
    loss = {who: sum(one[who]["held_out_loss"] for one in found) for who in ("zero", "lsp")}
    assert loss["lsp"] == pytest.approx(loss["zero"], rel=0.07)
    for one in found:
        assert one["lsp"]["sent_bytes"] < one["zero"]["sent_bytes"] / 3  # in half again as many steps


@pytest.mark.slow
def test_lora_of_equal_memory_is_not_behind_on_so_small_a_task() -> None:
    found = live.equal_memory(0, False)
    assert found["lsp"]["device_bytes"] < found["lora"]["device_bytes"] < found["galore"]["device_bytes"]
    assert found["lora"]["held_out_loss"] < found["lsp"]["held_out_loss"]  # unlike in the publication
