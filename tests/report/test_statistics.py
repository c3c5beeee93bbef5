"""Estimates, ranks, correlations and coverage against what is known by hand."""

import numpy as np
import pytest

from dreamgym.report.statistics import correlation, coverage, is_covered, pearson, ranks, ratio, spearman


def test_a_mean_has_an_interval_about_four_standard_errors_wide():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = ratio(values)
    assert found["value"] == pytest.approx(values.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)
    assert found["low"] < found["value"] < found["high"]


def test_a_ratio_weighs_long_episodes_more():
    assert ratio(np.array([1.0, 0.0]), np.array([1.0, 3.0]))["value"] == 0.25


def test_nothing_over_nothing_is_not_a_number():
    assert np.isnan(ratio(np.zeros(3), np.zeros(3))["value"])


def test_equal_values_share_their_mean_rank():
    assert ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == [1.5, 0.0, 1.5, 3.0]


def test_ranks_do_not_mind_a_curve_and_pearson_does():
    x = np.arange(1.0, 9.0)
    assert spearman(x, x**5) == 1.0
    assert pearson(x, x**5) < 0.9
    assert spearman(x, -(x**5)) == -1.0
    assert np.isnan(pearson(x, np.ones(8)))


def test_noise_in_the_returns_widens_the_interval_of_a_correlation():
    rng = np.random.default_rng(1)
    means = np.arange(8.0)[:, None] * np.ones((1, 10))
    exact = correlation(means, means)["spearman"]
    assert (exact["value"], exact["low"], exact["high"]) == (1.0, 1.0, 1.0)
    noisy = correlation(means + rng.normal(0, 6, means.shape), means + rng.normal(0, 6, means.shape))["spearman"]
    assert noisy["low"] < noisy["value"] < 1.0


def test_an_honest_sampler_covers_as_often_as_it_should_and_a_sure_one_does_not():
    rng = np.random.default_rng(2)
    truth, draws = rng.normal(size=20_000), rng.normal(size=(19, 20_000))
    assert is_covered(truth, draws, 0.0, rng).mean() == pytest.approx(coverage(19), abs=0.01)
    assert is_covered(truth, 0.3 * draws, 0.0, rng).mean() < 0.5
    assert is_covered(truth, 3 * draws, 0.0, rng).mean() > 0.98


def test_a_world_without_chance_is_covered_by_lot_and_a_wrong_one_never():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=20_000)
    same = np.repeat(truth[None], 19, 0) + 1e-6
    assert is_covered(truth, same, 1e-3, rng).mean() == pytest.approx(0.9, abs=0.01)
    assert is_covered(truth, same + 1, 1e-3, rng).mean() == 0
