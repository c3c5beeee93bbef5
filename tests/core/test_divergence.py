"""Divergences against values worked out by hand and by numerical integration."""

import math

import numpy as np
import pytest
import torch

from dreamgym.core.divergence import kl_categorical, kl_normal


def logs(*weights):
    return torch.tensor(weights).log()


def test_the_divergence_from_an_even_categorical_is_the_missing_entropy():
    p, q = logs(1 / 2, 1 / 4, 1 / 4), logs(1 / 3, 1 / 3, 1 / 3)
    forward = kl_categorical(p[None], q[None]).item()
    backward = kl_categorical(q[None], p[None]).item()
    assert forward == pytest.approx(math.log(3) - 1.5 * math.log(2), abs=1e-6)
    assert backward == pytest.approx(5 / 3 * math.log(2) - math.log(3), abs=1e-6)


def test_divergences_of_groups_are_added():
    p = torch.stack([logs(0.5, 0.5), logs(0.9, 0.1), logs(0.2, 0.8)])  # [G, K]
    q = torch.stack([logs(0.5, 0.5), logs(0.5, 0.5), logs(0.6, 0.4)])
    expected = sum(a * math.log(a / b) for a, b in ((0.9, 0.5), (0.1, 0.5), (0.2, 0.6), (0.8, 0.4)))
    got = kl_categorical(p.expand(4, 2, 3, 2), q.expand(4, 2, 3, 2))
    assert got.shape == (4, 2)
    assert got.numpy() == pytest.approx(expected, abs=1e-6)


def test_the_divergence_of_known_gaussians():
    one, zero = torch.ones(1), torch.zeros(1)
    assert kl_normal(one, 2 * one, zero, one).item() == pytest.approx(2 - math.log(2))
    assert kl_normal(zero, one, one, 2 * one).item() == pytest.approx(math.log(2) + 2 / 8 - 1 / 2)


def test_the_divergence_of_gaussians_is_the_integral_summed_over_dimensions():
    mean, std, other_mean, other_std = ([0.3, -1.0], [0.5, 1.5], [-0.2, 2.0], [0.8, 0.6])
    x = np.linspace(-20, 20, 400_001)
    total = 0.0
    for m, s, n, t in zip(mean, std, other_mean, other_std, strict=True):
        log_p = -0.5 * ((x - m) / s) ** 2 - math.log(s)
        log_q = -0.5 * ((x - n) / t) ** 2 - math.log(t)
        total += float(np.sum(np.exp(log_p) / math.sqrt(2 * math.pi) * (log_p - log_q)) * (x[1] - x[0]))
    given = (torch.tensor(value).expand(3, 2) for value in (mean, std, other_mean, other_std))
    got = kl_normal(*given)
    assert got.shape == (3,)
    assert got.numpy() == pytest.approx(total, rel=1e-5)


def test_what_is_equal_does_not_diverge():
    mean, std = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    assert kl_normal(mean, std, mean, std).abs().max() < 1e-6
    p = torch.randn(4, 3, 5).log_softmax(-1)
    assert kl_categorical(p, p).abs().max() == 0
