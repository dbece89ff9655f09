from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.traces.generate.lengths import AnyLengths, Castillo, Fixed, Like, LogNormal, Quantiles, Zipf, normal_cdf
from headway.traces.generate.named import NAMED
from headway.traces.generate.prefixes import PrefixGroups
from headway.traces.table import RequestTable

NUM = 200_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_log_normal_lengths_have_their_quantiles() -> None:
    prompt, output = LogNormal(prompt_median=800, prompt_p90=3000, output_median=100, output_mean=150).draw(NUM, rng())
    assert np.median(prompt) == pytest.approx(800, rel=0.02)
    assert np.quantile(prompt, 0.9) == pytest.approx(3000, rel=0.02)
    assert np.median(output) == pytest.approx(100, rel=0.02)
    assert output.mean() == pytest.approx(150, rel=0.02)
    assert min(prompt.min(), output.min()) >= 1


def test_prompt_and_output_can_go_together() -> None:
    model = LogNormal(prompt_median=800, prompt_sigma=1.0, output_median=100, output_sigma=0.5, correlation=-0.6)
    prompt, output = model.draw(NUM, rng())
    assert np.corrcoef(np.log(prompt), np.log(output))[0, 1] == pytest.approx(-0.6, abs=0.02)


def test_tables_of_quantiles_are_drawn_from() -> None:
    model = Quantiles(levels=(0, 0.5, 1), prompt=(1, 101, 201), output=(10, 10, 30), correlation=0.9)
    prompt, output = model.draw(NUM, rng())
    assert (prompt.min(), prompt.max()) == (1, 201)
    assert np.median(prompt) == pytest.approx(101, abs=2)
    assert (output == 10).mean() == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(prompt, output)[0, 1] > 0.7
    assert Quantiles(prompt=(1, 101, 201), output=(10, 10, 30)).draw(NUM, rng())[0].mean() == pytest.approx(101, abs=2)


def test_power_law_lengths_have_their_mean_and_many_short_ones() -> None:
    model = Zipf(prompt_mean=128, output_mean=512, prompt_exponent=2.0, output_exponent=1.15, cut_tokens=10**6)
    prompt, output = model.draw(NUM, rng())
    assert prompt.mean() == pytest.approx(128, rel=0.03)
    assert output.mean() == pytest.approx(512, rel=0.03)
    assert (prompt == prompt.min()).mean() == pytest.approx(6 / np.pi**2, abs=0.01)  # rank 1 of an inverse square
    cut = Zipf(prompt_mean=128, output_mean=512, cut_tokens=1000).draw(NUM, rng())
    assert max(lengths.max() for lengths in cut) == 1000


def test_bounds_are_kept_by_drawing_again() -> None:
    model = LogNormal(prompt_median=500, prompt_sigma=1, output_median=500, output_sigma=1, max_tokens=1500)
    prompt, output = model.draw(20_000, rng())
    assert (prompt + output).max() <= 1500
    assert len(np.unique(prompt + output)) > 500  # cut off at the bound they would pile up there
    with pytest.raises(ConfigError, match="most requests through"):
        Fixed(prompt_tokens=100, max_prompt_tokens=50).draw(10, rng())


# Agrawal et al., arXiv 2403.02310, table 2.
@pytest.mark.parametrize(
    ("name", "prompt", "output", "most"),
    [("openchat-sharegpt4", (1730, 5696), (415, 834), 8192), ("arxiv-summarization", (7059, 12985), (208, 371), 16384)],
)
def test_named_models_have_the_published_quantiles(
    name: str, prompt: tuple[int, int], output: tuple[int, int], most: int
) -> None:
    drawn = NAMED[name].draw(NUM, rng())
    for values, quantiles in zip(drawn, (prompt, output), strict=True):
        np.testing.assert_allclose(np.quantile(values, (0.5, 0.9)), quantiles, rtol=0.02)
    assert sum(drawn).max() <= most  # type: ignore[union-attr]


def test_rows_of_a_table_stay_together() -> None:
    table = RequestTable(np.zeros(3), np.array([1, 2, 3]), np.array([10, 20, 30]))
    prompt, output = Like(table).draw(1000, rng())
    assert np.array_equal(10 * prompt, output)
    assert set(prompt.tolist()) == {1, 2, 3}


def test_the_normal_distribution_is_exact_enough() -> None:
    known = {0.0: 0.5, 1.0: 0.8413447461, -1.959963985: 0.025, 3.0: 0.9986501020}
    np.testing.assert_allclose(normal_cdf(np.array(list(known))), list(known.values()), atol=2e-7)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "fixed", "prompt_tokens": 0}, "prompt_tokens must be >= 1"),
        ({"kind": "fixed", "max_tokens": 1}, "max_tokens must be >= 2"),
        ({"kind": "castillo", "endless_frac": 2.0}, "endless_frac must be in"),
        ({"kind": "castillo", "most_tokens": 0}, "most_tokens must be >= 1"),
        ({"kind": "castillo", "corpus": "alpacca"}, "Nearest: alpaca"),
        ({"kind": "lognormal", "prompt_median": 0, "output_median": 1}, "prompt_median must be > 0"),
        ({"kind": "quantiles", "prompt": [5, 4], "output": [1, 2]}, "prompt must be rising"),
        ({"kind": "quantiles", "prompt": [1, 2], "output": [1, 2], "levels": [0, 0.5]}, "levels must be rising"),
        ({"kind": "quantiles", "prompt": [1, 2, 3], "output": [1, 2], "levels": [0, 1]}, "as many as the levels"),
    ],
)
def test_impossible_models_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(given, AnyLengths)


def test_popular_groups_are_more_popular() -> None:
    groups = PrefixGroups(num_groups=5, prefix_tokens=64, zipf=1.0, block_tokens=16, shared_frac=0.5)
    prefixes = groups.draw(np.full(20_000, 100), rng())
    firsts = np.array([prefixes[row][0] for row in range(20_000)])
    counts = np.sort(np.bincount(firsts)[: 5 * 4])[::-1][:5]
    harmonic = sum(1 / k for k in range(1, 6))
    np.testing.assert_allclose(counts / 10_000, [1 / k / harmonic for k in range(1, 6)], atol=0.02)


def test_short_prompts_hold_a_piece_of_the_beginning() -> None:
    prefixes = PrefixGroups(num_groups=1, prefix_tokens=64, block_tokens=16).draw(np.array([10, 40, 100, 64]), rng())
    assert [len(prefixes[row]) for row in range(4)] == [0, 2, 6, 4]
    assert prefixes[1].tolist() == prefixes[2][:2].tolist() == prefixes[3][:2].tolist()
    with pytest.raises(ConfigError, match="num_groups must be >= 1"):
        PrefixGroups(num_groups=0)


def test_outputs_vary_between_prompts_and_within_one() -> None:
    model = Castillo(mean_tokens=300, corpus="sharegpt", endless_frac=0.0)
    prompt, output = model.draw(NUM, rng())
    assert output.mean() == pytest.approx(300, rel=0.02)
    assert np.log(output[output > 20]).std() == pytest.approx(np.hypot(0.7, 0.25), rel=0.05)
    assert np.median(prompt) == pytest.approx(150, rel=0.02)
    assert prompt.max() == 2500
    longer = Castillo(mean_tokens=300, corpus="apps", endless_frac=0.0).draw(NUM, rng())[1]
    assert longer.mean() == pytest.approx(1.6 * 300, rel=0.02)


def test_some_outputs_never_end() -> None:
    output = Castillo(mean_tokens=300, endless_frac=0.01).draw(NUM, rng())[1]
    assert (output == 15_000).mean() == pytest.approx(0.01, rel=0.1)
    assert np.percentile(output, 99.5) == 15_000
    assert (Castillo(endless_frac=1.0, most_tokens=50).draw(10, rng())[1] == 50).all()
