"""Transfers in virtual time: what runs take, and what the scheduler gains."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.nouns import Resource
from headway.policies.tuning.trans_lora import TransLora
from headway.policies.tuning.trans_lora_baselines import OneTransfer, StageByStage
from headway.policies.tuning.trans_lora_nouns import STAGES, Base, Transfer
from headway.sim.tuning.trans_lora import TransferWorld, TrueTransfer
from headway.sim.tuning.trans_lora_prices import Accelerator, Affine, StagePrice, roofline
from headway.sim.tuning.trans_lora_small import RandomTransfers, world_of


def tiny(accept_frac: float = 1.0, wanted: int = 10) -> TransferWorld:
    one = Transfer(id="t", arrival_s=5.0, source="old", target="new", wanted=wanted, num_epochs=2)
    price = StagePrice(
        costs={(stage, base): Affine(1.0, 0.1) for stage in STAGES for base in ("old", "new")}, load_bytes_per_s=10.0
    )
    device = Resource(id="d", kind="gpu", capacity={"memory_bytes": 100.0})
    bases = [Base(id="old", weights_bytes=20.0), Base(id="new", weights_bytes=40.0)]
    return TransferWorld([TrueTransfer(transfer=one, accept_frac=accept_frac)], [device], bases, price)


def test_a_transfer_takes_its_runs_and_the_weights_it_brings() -> None:
    world = tiny()
    simulate(world, TransLora())
    # load 4 + generate 2, load 2 + filter 2, label 2, train 1 + 2 epochs of 10 texts
    assert world.finished_s["t"] == pytest.approx(5.0 + 4 + 2 + 2 + 2 + 2 + (1 + 2))
    assert world.num_loads == 2


@pytest.mark.parametrize("accept_frac", [0.1, 0.3, 0.6])
def test_about_as_many_texts_are_generated_as_are_wanted_over_the_share_kept(accept_frac: float) -> None:
    drawn = []
    for seed in range(20):
        few = RandomTransfers(num=1, least_frac=accept_frac, most_frac=accept_frac + 1e-9).draw(seed)
        world = world_of(few, num_devices=1)
        simulate(world, TransLora())
        drawn.append(world.numbers()["num_drawn"])
    assert np.mean(drawn) == pytest.approx(250 / accept_frac, rel=0.12)


def test_which_texts_are_kept_does_not_depend_on_who_schedules() -> None:
    drawn = set()
    for policy in (TransLora(foresee=False), OneTransfer()):
        world = world_of(RandomTransfers(num=1).draw(3), num_devices=1)
        simulate(world, policy)
        drawn.add(world.numbers()["num_drawn"])
    assert len(drawn) == 1


def test_shared_runs_and_foresight_finish_sooner_than_each_for_itself() -> None:
    spent = {}
    for policy in (TransLora(), StageByStage(), OneTransfer()):
        world = world_of(RandomTransfers(num=12).draw(0), num_devices=2)
        simulate(world, policy)
        spent[type(policy).__name__] = world.numbers()["makespan_s"]
    assert spent["TransLora"] < spent["StageByStage"] < spent["OneTransfer"]


def test_a_base_that_fits_nowhere_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="some device must have room to generate"):
        world_of(RandomTransfers(num=1).draw(0), on=Accelerator(memory_bytes=20e9))


def test_the_roofline_reads_weights_once_for_a_batch() -> None:
    price = roofline({"b": 7e9})
    one, many = (price.run_s("generate", "b", num) for num in (1, 32))
    assert many < 2 * one
    assert price.run_s("train", "b", 20) == pytest.approx(2 * price.run_s("train", "b", 10), rel=0.1)
