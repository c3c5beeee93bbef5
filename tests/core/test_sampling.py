"""Mixtures and temperature against brute force: frequencies, moments and an independent likelihood."""

import math

import numpy as np
import pytest
import torch

from dreamgym.core.sampling import (
    check_temperature,
    mixture_nll,
    most_likely,
    sample_categorical,
    sample_mixture,
    sample_normal,
)
from dreamgym.errors import InvalidTemperature

MANY = 200_000
LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.3, 2.0, 0.1]])  # [Z, K]
MEAN = torch.tensor([[-20.0, 0.0, 20.0], [10.0, -10.0, 30.0]])
STD = torch.tensor([[0.5, 1.0, 0.2], [0.1, 0.7, 1.5]])

LANES = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))  # [B, Z, K]
NOISE = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))


def draw(temperature: float) -> np.ndarray:
    """Return `[MANY, Z]` draws of the mixtures above, whose components lie far apart."""
    many = (x.expand(MANY, -1, -1) for x in (LOGITS, MEAN, STD))
    noise = torch.randn(MANY, 4, generator=torch.Generator().manual_seed(0))
    return sample_mixture(*many, noise, temperature).double().numpy()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_components_are_drawn_as_often_as_their_tempered_weights_say(temperature):
    draws = draw(temperature)
    for z in range(2):
        scaled = LOGITS[z].double().numpy() / temperature
        weights = np.exp(scaled) / np.exp(scaled).sum()
        nearest = np.abs(draws[:, z, None] - MEAN[z].numpy()).argmin(1)
        assert np.bincount(nearest, minlength=3) / MANY == pytest.approx(weights, abs=0.005)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_variance_of_a_component_is_multiplied_by_the_temperature(temperature):
    draws = draw(temperature)
    for z in range(2):
        nearest = np.abs(draws[:, z, None] - MEAN[z].numpy()).argmin(1)
        for k in range(3):
            own = draws[nearest == k, z]
            assert own.mean() == pytest.approx(MEAN[z, k].item(), abs=0.03)
            assert own.var() == pytest.approx(temperature * STD[z, k].item() ** 2, rel=0.05)


def test_latent_dimensions_are_drawn_independently():
    draws = draw(1.0)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.01


def test_one_component_is_a_gaussian():
    noise = torch.randn(7, 6)
    mean, std = torch.randn(7, 3), torch.rand(7, 3)
    got = sample_mixture(torch.randn(7, 3, 1), mean[..., None], std[..., None], noise, 1.7)
    assert torch.allclose(got, sample_normal(mean, std, noise[:, 3:], 1.7))
    assert torch.allclose(got, mean + std * noise[:, 3:] * math.sqrt(1.7), atol=1e-6)


@pytest.mark.parametrize("extreme", [-40.0, -8.0, 8.0, 40.0])
def test_extreme_noise_still_picks_a_component(extreme):
    noise = torch.tensor([[extreme, extreme, 0.0, 0.0]])
    got = sample_mixture(LOGITS[None], MEAN[None], STD[None], noise)
    assert got.tolist() == [MEAN[:, 0 if extreme < 0 else -1].tolist()]


def test_gradients_reach_the_chosen_component_alone():
    mean, std = MEAN[None].clone().requires_grad_(), STD[None].clone().requires_grad_()
    noise = torch.tensor([[-9.0, 9.0, 0.5, -2.0]])  # the first component of one latent, the last of the other
    sample_mixture(LOGITS[None], mean, std, noise, 4.0).sum().backward()
    assert mean.grad.tolist() == [[[1, 0, 0], [0, 0, 1]]]
    assert std.grad.tolist() == [[[1.0, 0, 0], [0, 0, -4.0]]]  # offset times sqrt(temperature)


@pytest.mark.parametrize("shape", [(2,), (5, 3, 2)])
def test_the_likelihood_is_that_of_an_independent_computation(shape):
    generator = torch.Generator().manual_seed(1)
    logits, mean, log_std = (torch.randn(*shape, 4, generator=generator) for _ in range(3))
    target = torch.randn(*shape, generator=generator)
    got = mixture_nll(logits, mean, log_std, target)
    weights = np.exp(logits.double().numpy())
    weights /= weights.sum(-1, keepdims=True)
    std = np.exp(log_std.double().numpy())
    scaled = (target.double().numpy()[..., None] - mean.double().numpy()) / std
    density = (weights * np.exp(-0.5 * scaled**2) / (std * np.sqrt(2 * np.pi))).sum(-1)
    assert got.shape == shape
    assert got.numpy() == pytest.approx(-np.log(density), abs=1e-5)


def test_the_likelihood_is_finite_far_from_every_component():
    got = mixture_nll(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([1e4]))
    assert got.item() == pytest.approx(0.5e8 + 0.5 * math.log(2 * math.pi), rel=1e-5)


def test_the_likelihood_of_one_component_is_a_gaussians():
    got = mixture_nll(torch.tensor([[3.0]]), torch.tensor([[1.0]]), torch.tensor([[0.5]]), torch.tensor([2.0]))
    expected = -torch.distributions.Normal(1.0, math.exp(0.5)).log_prob(torch.tensor(2.0))
    assert got.item() == pytest.approx(expected.item())


def classes(temperature: float = 1.0, unimix: float = 0.0, logits: torch.Tensor = LOGITS) -> np.ndarray:
    """Return `[G, K]`, how often each class of two groups is drawn."""
    noise = torch.randn(MANY, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawn = sample_categorical(logits.expand(MANY, -1, -1), noise, temperature, unimix)
    assert drawn.unique().tolist() == [0, 1]
    assert drawn.sum(-1).eq(1).all()
    return drawn.mean(0).numpy()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("unimix", [0.0, 0.2])
def test_classes_are_drawn_as_often_as_their_tempered_and_mixed_weights_say(temperature, unimix):
    weights = np.exp(LOGITS.double().numpy() / temperature)
    weights = (1 - unimix) * weights / weights.sum(1, keepdims=True) + unimix / 3
    assert classes(temperature, unimix) == pytest.approx(weights, abs=0.005)


def test_no_class_is_drawn_less_often_than_the_even_share_says():
    certain = torch.tensor([[100.0, 0.0, -100.0], [-100.0, 0.0, 100.0]])
    assert classes(unimix=0.03, logits=certain)[:, 1] == pytest.approx(0.01, abs=0.001)
    assert classes(logits=certain).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_larger_noise_draws_a_later_class_of_its_own_group():
    noise = torch.tensor([[-40.0, 40.0], [-8.0, 8.0], [0.0, 0.0], [40.0, -40.0]])
    drawn = sample_categorical(LOGITS.expand(4, -1, -1), noise).argmax(-1)
    assert drawn.tolist() == [[0, 2], [0, 2], [0, 1], [2, 0]]


@pytest.mark.parametrize(("temperature", "unimix"), [(1.0, 0.0), (2.0, 0.0), (1.0, 0.1)])
def test_gradients_pass_straight_through_the_draw_to_the_probabilities(temperature, unimix):
    logits, worth = LOGITS[None].clone().requires_grad_(), torch.tensor([[[3.0, -1.0, 2.0], [0.5, 4.0, 1.0]]])
    drawn = sample_categorical(logits, torch.zeros(1, 2), temperature, unimix)
    (drawn * worth).sum().backward()
    p = np.exp(LOGITS.double().numpy() / temperature)
    p /= p.sum(1, keepdims=True)
    mean = (p * worth[0].numpy()).sum(1, keepdims=True)
    expected = (1 - unimix) / temperature * p * (worth[0].numpy() - mean)
    assert logits.grad[0].numpy() == pytest.approx(expected, abs=1e-6)
    assert drawn.detach().round().tolist() == [[[1, 0, 0], [0, 1, 0]]]


def test_the_likeliest_class_is_that_of_the_largest_logit():
    assert most_likely(LOGITS[None]).tolist() == [[[1, 0, 0], [0, 1, 0]]]


@pytest.mark.parametrize("bad", [0, -1.5, math.nan, math.inf, "hot", None])
def test_a_temperature_that_is_no_positive_number_is_refused_by_its_value(bad):
    with pytest.raises(InvalidTemperature, match=f"temperature is {bad!r}; expected a number above 0"):
        check_temperature(bad)


def test_a_temperature_is_returned_as_a_float():
    assert check_temperature(2) == check_temperature(np.float32(2)) == 2.0
    assert isinstance(check_temperature(2), float)


@pytest.mark.parametrize("draw", [
    lambda heat, rows: sample_normal(torch.zeros(3, 4)[rows], torch.ones(3, 4)[rows], NOISE[rows, :4], heat),
    lambda heat, rows: sample_categorical(LANES[rows], NOISE[rows, :4], heat, 0.01),
    lambda heat, rows: sample_mixture(LANES[rows], LANES[rows], LANES[rows].exp(), NOISE[rows], heat),
], ids=["normal", "categorical", "mixture"])  # fmt: skip
def test_a_temperature_for_each_lane_is_that_number_in_that_lane(draw):
    heat = torch.tensor([[0.2], [1.0], [5.0]])
    together = draw(heat, torch.arange(3))
    assert together.shape[0] == 3
    for lane in range(3):
        assert torch.allclose(together[lane : lane + 1], draw(heat[lane].item(), torch.tensor([lane])))
    assert not torch.allclose(together, draw(1.0, torch.arange(3)))
