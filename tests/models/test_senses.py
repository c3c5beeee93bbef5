"""Encoder and decoder: every kind of observation, their units, what is refused."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.core.codec import encode_obs
from dreamgym.core.tree import named_leaves
from dreamgym.errors import UnsupportedSpace
from dreamgym.models.senses import Decoder, Encoder

PICTURE = spaces.Box(0, 255, (32, 48, 3), np.uint8)
GREY = spaces.Box(0, 255, (16, 16, 1), np.uint8)
VECTOR = spaces.Box(-np.inf, np.inf, (5,), np.float32)
TABLE = spaces.Box(-1, 1, (2, 3), np.float32)
GEAR = spaces.Discrete(4, start=2)
FEATURES = 9

SPACES = {
    "picture": PICTURE,
    "vector": VECTOR,
    "table": TABLE,
    "discrete": GEAR,
    "dict": spaces.Dict({"speed": VECTOR, "gear": GEAR}),
    "mixed": spaces.Dict({"camera": PICTURE, "map": GREY, "speed": VECTOR, "gear": GEAR}),
}
WIDTHS = {  # channels[-1] for each 16 x 16 pixels, hidden_dim for all vectors together
    "picture": 5 * 6,
    "vector": 7,
    "table": 7,
    "discrete": 7,
    "dict": 7,
    "mixed": 5 * 6 + 5 + 7,
}


def senses(cls, *first, log=True, norm="none", **more):
    torch.manual_seed(0)
    sizes = {"channels": (2, 3, 4, 5), "conv_norm": norm, "conv_activation": "silu", "hidden_dim": 7, "layers": 2}
    return cls(*first, **sizes, norm=norm, activation="silu", log=log, **more)


def observe(space, lanes=4):
    space.seed(0)
    samples = [space.sample() for _ in range(lanes)]
    if isinstance(space, spaces.Dict):
        return encode_obs(space, {name: np.stack([sample[name] for sample in samples]) for name in space})
    return encode_obs(space, np.stack(samples))


@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
@pytest.mark.parametrize("name", SPACES)
def test_every_observation_is_seen_and_drawn_in_its_own_shape(name, norm):
    space = SPACES[name]
    obs = observe(space)
    encoder, decoder = senses(Encoder, space, norm=norm), senses(Decoder, FEATURES, space, norm=norm)
    code = encoder(obs)
    assert code.shape == (4, encoder.code_dim) == (4, WIDTHS[name])
    features = torch.randn(4, FEATURES)
    drawn, given = named_leaves(decoder(features)), named_leaves(obs)
    assert {key: x.shape for key, x in drawn.items()} == {key: x.shape for key, x in given.items()}
    assert decoder.error(features, obs).shape == (4,)
    assert all(x.dtype == torch.float32 for x in drawn.values())


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("name", SPACES)
def test_the_error_is_the_sum_of_squares_over_all_pixels_and_numbers(name, log):
    space, features = SPACES[name], torch.randn(4, FEATURES)
    obs, decoder = observe(space), senses(Decoder, FEATURES, space, log=log)
    expected = np.zeros(4)
    drawn = named_leaves(decoder(features))
    for key, x in named_leaves(obs).items():
        a, b = (value.detach().double().numpy() for value in (drawn[key], x))
        if log and a.ndim == 2:
            a, b = (np.sign(value) * np.log1p(np.abs(value)) for value in (a, b))
        expected += ((a - b) ** 2).reshape(4, -1).sum(1)
    assert decoder.error(features, obs).detach().numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["picture", "dict", "mixed"])
def test_bright_pixels_weigh_more_if_that_is_asked_for(name):
    space, features = SPACES[name], torch.randn(4, FEATURES)
    obs, decoder = observe(space), senses(Decoder, FEATURES, space, log=False, bright_weight=6.0)
    expected = np.zeros(4)
    drawn = named_leaves(decoder(features))
    for key, x in named_leaves(obs).items():
        a, b = (value.detach().double().numpy() for value in (drawn[key], x))
        weight = 1 + 6 * b.max(1, keepdims=True) if a.ndim == 4 else 1  # [B, 1, H, W]
        expected += (weight * (a - b) ** 2).reshape(4, -1).sum(1)
    assert decoder.error(features, obs).detach().numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["picture", "dict", "mixed"])
def test_odd_pixels_weigh_more_if_that_is_asked_for(name):
    space, features = SPACES[name], torch.randn(4, FEATURES)
    obs, decoder = observe(space), senses(Decoder, FEATURES, space, log=False, bright_weight=2.0, odd_weight=20.0)
    expected = np.zeros(4)
    drawn = named_leaves(decoder(features))
    for key, x in named_leaves(obs).items():
        a, b = (value.detach().double().numpy() for value in (drawn[key], x))
        weight = 1.0
        if a.ndim == 4:
            grey = b.mean(1, keepdims=True)  # [B, 1, H, W]
            weight = 1 + 2 * b.max(1, keepdims=True) + 20 * np.abs(grey - grey.mean(0))
        expected += (weight * (a - b) ** 2).reshape(4, -1).sum(1)
    assert decoder.error(features, obs).detach().numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["picture", "mixed"])
def test_each_part_of_an_observation_changes_the_code(name):
    space = SPACES[name]
    obs, encoder = observe(space), senses(Encoder, space)
    before = encoder(obs)
    for part in obs if isinstance(obs, dict) else [None]:
        changed = {**obs, part: 1 - obs[part]} if part is not None else 1 - obs
        assert (encoder(changed) - before).abs().max() > 1e-4, part


def test_the_order_of_a_dict_means_nothing():
    obs = observe(SPACES["mixed"])
    encoder, decoder = senses(Encoder, SPACES["mixed"]), senses(Decoder, FEATURES, SPACES["mixed"])
    other, features = dict(reversed(obs.items())), torch.randn(4, FEATURES)
    assert list(other) != list(obs)
    assert torch.equal(encoder(other), encoder(obs))
    assert torch.equal(decoder.error(features, other), decoder.error(features, obs))


def test_vectors_are_read_as_logarithms_where_that_is_asked_for():
    x = torch.tensor([[1e6, -1e6, 0.0, 1e-3, 5.0]])
    logs = x.sign() * x.abs().log1p()
    assert torch.equal(senses(Encoder, VECTOR)(x), senses(Encoder, VECTOR, log=False)(logs))
    features = torch.randn(1, FEATURES)
    plain = senses(Decoder, FEATURES, VECTOR, log=False)(features)
    torch.testing.assert_close(senses(Decoder, FEATURES, VECTOR)(features), plain.sign() * plain.abs().expm1())


def test_pictures_are_drawn_between_black_and_white():
    decoder = senses(Decoder, FEATURES, PICTURE)
    with torch.no_grad():
        decoder.convs[0].convs[-1].weight.mul_(1e4)
    drawn = decoder(torch.randn(8, FEATURES))
    assert drawn.min() == 0
    assert drawn.max() == 1


def test_the_lower_precision_is_for_pictures_alone():
    obs, features = observe(SPACES["mixed"]), torch.randn(4, FEATURES)
    encoder, decoder = senses(Encoder, SPACES["mixed"]), senses(Decoder, FEATURES, SPACES["mixed"])
    pixels = encoder.code_dim - 7
    exact_code, exact = encoder(obs), decoder(features)
    with torch.autocast("cpu", torch.bfloat16):
        code, drawn = encoder(obs), decoder(features)
    assert torch.equal(code[:, pixels:].float(), exact_code[:, pixels:])
    assert not torch.equal(code[:, :pixels].float(), exact_code[:, :pixels])
    assert torch.equal(drawn["speed"], exact["speed"])
    assert not torch.equal(drawn["camera"], exact["camera"])


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (spaces.Text(5), r"observation space Text\(.*\) is not supported by rssm; expected a Box or a Discrete"),
        (spaces.MultiBinary(3), r"observation space MultiBinary\(3\) is not supported by rssm; expected a Box or"),
        (spaces.Dict({"a": spaces.Dict({"b": VECTOR})}), r"observation space Dict\('b'.*\) is not supported by rssm"),
        (spaces.Box(0, 255, (64, 60, 3), np.uint8), r"pictures of 64x60 are not supported by rssm; expected sides"),
        (spaces.Box(0, 255, (3, 64, 64), np.uint8), r"pictures of 3x64 are not supported by rssm; .* Resize the pict"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_refused(space, text):
    with pytest.raises(UnsupportedSpace, match=text):
        senses(Encoder, space)
    with pytest.raises(UnsupportedSpace, match=text):
        senses(Decoder, FEATURES, space)
