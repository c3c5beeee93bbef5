"""Bootstraps that the data decide."""

import math

import pytest
import torch

from dreamgym.core.bootstrap import poisson_weights


def test_a_row_counts_a_poisson_number_of_times_for_each_member():
    weights = poisson_weights(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0)), 5)
    for k in range(5):
        chance = math.exp(-1) / math.factorial(k)
        assert (weights == k).float().mean(1).tolist() == pytest.approx([chance] * 5, abs=0.012)
    assert torch.corrcoef(weights).fill_diagonal_(0).abs().max() < 0.03


def test_a_row_counts_the_same_wherever_it_lies():
    rows = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    weights = poisson_weights(rows, 3)
    assert torch.equal(poisson_weights(rows[order][:50], 3), weights[:, order[:50]])
    assert torch.equal(poisson_weights(rows, 2), weights[:2])


def test_rows_that_differ_in_one_number_or_in_its_place_are_drawn_apart():
    weights = poisson_weights(torch.arange(3000.0)[:, None] * 1e-3, 1)[0]
    assert abs(torch.corrcoef(torch.stack([weights[1:], weights[:-1]]))[0, 1]) < 0.06
    one, other = torch.zeros(2, 500, 8)
    one[:, 0] = other[:, 5] = torch.arange(500.0)
    assert (poisson_weights(one, 1) != poisson_weights(other, 1)).float().mean() > 0.5
