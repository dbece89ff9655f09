from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.sim.serving.cost.fitted import FittedPrice, fitted_replica, read_calibration
from headway.sim.serving.price import BatchShape, Chunk

PRICE = FittedPrice(
    knots=((2, 4e-3), (32, 5e-3), (512, 3e-2)), decode_s=5e-5, context_s=2e-7, chunk_s=2e-4, pair_s=3e-8
)
FILE = "num_layers = 4\nnum_kv_tokens = 640\n[price]\nknots = [[1, 0.001], [8, 0.002]]\n"


@given(num=st.integers(1, 2000), context=st.integers(0, 100_000))
def test_decodes_alone_cost_a_line_in_their_context(num: int, context: int) -> None:
    base_s, per_token_s = PRICE.decode_line(num)
    assert PRICE.step_s(BatchShape(num, context)) == base_s + per_token_s * context
    assert base_s > 0


def test_between_knots_it_is_straight_and_beyond_them_it_goes_on() -> None:
    price = FittedPrice(knots=((2, 4e-3), (32, 5e-3), (512, 3e-2)))
    assert price.decode_line(17)[0] == pytest.approx(4.5e-3)
    assert price.decode_line(512)[0] == pytest.approx(3e-2)
    assert price.decode_line(992)[0] == pytest.approx(5.5e-2)
    assert price.decode_line(1)[0] == pytest.approx(4e-3 - 1e-3 / 30)


def test_chunks_pay_for_tokens_pairs_and_themselves() -> None:
    both = BatchShape(2, 100, (Chunk(30, 50), Chunk(10, 0)))
    terms = 5e-3 + 10 * 2.5e-2 / 480 + 2 * 5e-5 + 100 * 2e-7 + 2 * 2e-4 + (30 * 65 + 10 * 5) * 3e-8
    assert PRICE.step_s(both) == pytest.approx(terms)


def test_a_share_of_the_layers_costs_a_share_and_a_share_of_the_compute_more() -> None:
    half = BatchShape(0, 0, (Chunk(100, 0, layers_frac=0.5),))
    like = 5e-3 + 18 * 2.5e-2 / 480 + 0.5 * (2e-4 + 100 * 50 * 3e-8)
    assert PRICE.step_s(half) == pytest.approx(like)
    assert PRICE.step_s(BatchShape(8, 0, share=0.5)) == pytest.approx(2 * PRICE.step_s(BatchShape(8, 0)))


@pytest.mark.parametrize("knots", [((1, 1e-3),), ((4, 1e-3), (2, 2e-3)), ((1, 0.0), (2, 1e-3))])
def test_knots_must_rise(knots: tuple[tuple[int, float], ...]) -> None:
    with pytest.raises(ConfigError, match="knots must be at least two, with rising tokens"):
        FittedPrice(knots=knots)


def test_a_calibration_is_a_replica(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(FILE)
    made = fitted_replica(tmp_path / "c.toml")
    assert (made.num_layers, made.num_kv_tokens, made.power) == (4, 640, None)
    assert math.isnan(made.usd_per_h)
    assert made.price.decode_line(8) == (pytest.approx(2e-3), 0.0)


@pytest.mark.parametrize("text", ["num_layers = 4\n", FILE + "speed = 3\n", "no toml"])
def test_another_file_is_told_from_a_calibration(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"must be (a file that `headway calibrate` wrote|TOML), got: [^:]+$"):
        read_calibration(tmp_path / "c.toml")
