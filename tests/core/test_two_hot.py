"""Symmetric logarithms and two-hot histograms against NumPy in float64."""

import math

import numpy as np
import pytest
import torch

from dreamgym.core.two_hot import NUM_BINS, symexp, symlog, two_hot, two_hot_loss, two_hot_mean

SCALES = [sign * 10.0**power for power in range(-6, 7) for sign in (-1, 1)]
EDGE = math.exp(20) - 1  # the last bin


def bins():
    """Return the bins of the paper, in float64: 255 places of [-20, 20] as symmetric exponentials."""
    places = np.linspace(-20, 20, 255)
    return np.sign(places) * np.expm1(np.abs(places))


def histogram(x):
    """Return the two-hot histogram of one number, found by search."""
    known, weights = bins(), np.zeros(255)
    above = min(next((i for i, b in enumerate(known) if b > x), 254), 254)
    share = (x - known[above - 1]) / (known[above] - known[above - 1])
    weights[above - 1], weights[above] = 1 - share, share
    return weights


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.0, 0.0), (math.e - 1, 1.0), (-(math.e**2 - 1), -2.0), (1e6, 13.815511557963774), (-1e-6, -9.999995000003e-07)],
)
def test_the_symmetric_logarithm_of_known_numbers(x, expected):
    assert symlog(torch.tensor(x)).item() == pytest.approx(expected, rel=1e-6)
    assert symexp(torch.tensor(expected)).item() == pytest.approx(x, rel=3e-6)


def test_the_symmetric_exponential_undoes_the_logarithm_on_every_scale():
    x = torch.tensor([0.0, *SCALES])
    torch.testing.assert_close(symexp(symlog(x)), x, rtol=5e-6, atol=0)


@pytest.mark.parametrize("x", [0.0, 0.1, -0.1, 1.0, 250.0, -3.7e7, *SCALES])
def test_a_number_is_two_weights_on_the_bins_around_it(x):
    got = two_hot(torch.tensor(x)).double().numpy()
    assert got == pytest.approx(histogram(x), abs=1e-4)
    assert got.sum() == pytest.approx(1, abs=1e-6)
    assert (got > 0).sum() <= 2
    assert got @ bins() == pytest.approx(x, rel=1e-4)


def test_the_mean_of_a_numbers_histogram_is_the_number_on_every_scale():
    x = torch.tensor([[0.0, *SCALES[1:]], SCALES])
    weights = two_hot(x)
    assert weights.shape == (*x.shape, NUM_BINS)
    torch.testing.assert_close(two_hot_mean(weights.log()), x, rtol=1e-5, atol=0)


@pytest.mark.parametrize("x", [EDGE, 1e9, 1e30, math.inf])
def test_numbers_beyond_the_last_bin_count_as_the_last_bin(x):
    for sign in (-1, 1):
        weights = two_hot(torch.tensor(sign * x))
        assert weights.argmax() == (254 if sign > 0 else 0)
        assert two_hot_mean(weights.log()).item() == pytest.approx(sign * EDGE, rel=1e-5)


def test_a_histogram_without_a_preference_means_exactly_nothing():
    assert two_hot_mean(torch.zeros(3, NUM_BINS)).tolist() == [0, 0, 0]
    assert two_hot_mean(torch.full((NUM_BINS,), 7.3)).item() == 0


def test_the_mean_is_that_of_the_softmax():
    logits = torch.randn(5, NUM_BINS, generator=torch.Generator().manual_seed(0))
    weights = np.exp(logits.double().numpy())
    weights /= weights.sum(1, keepdims=True)
    assert two_hot_mean(logits).numpy() == pytest.approx(weights @ bins(), rel=1e-4)


def test_the_loss_is_the_cross_entropy_with_the_two_weights():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, NUM_BINS, generator=generator)
    target = torch.tensor([[0.0, 0.05, -3.0], [1e-6, 1e6, 1e12]])
    exact = logits.double().numpy()
    logs = exact - np.log(np.exp(exact).sum(-1, keepdims=True))
    expected = [[-(histogram(min(x, EDGE)) @ row) for x, row in zip(*pair, strict=True)]
                for pair in zip(target.tolist(), logs, strict=True)]  # fmt: skip
    assert two_hot_loss(logits, target).numpy() == pytest.approx(np.array(expected), rel=1e-5)


def test_the_loss_of_a_perfect_guess_is_the_entropy_of_its_two_weights():
    middle = (bins()[130] + bins()[131]) / 2
    logits = torch.full((NUM_BINS,), -100.0)
    logits[130:132] = 0
    assert two_hot_loss(logits, torch.tensor(middle, dtype=torch.float32)).item() == pytest.approx(math.log(2))


def test_the_gradient_of_the_loss_is_the_guess_minus_the_histogram():
    logits = torch.randn(NUM_BINS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    two_hot_loss(logits, torch.tensor(42.0)).backward()
    guess = np.exp(logits.detach().double().numpy())
    assert logits.grad.numpy() == pytest.approx(guess / guess.sum() - histogram(42.0), abs=1e-5)


def test_what_is_not_a_number_is_not_hidden():
    assert two_hot_loss(torch.zeros(NUM_BINS), torch.tensor(math.nan)).isnan()
