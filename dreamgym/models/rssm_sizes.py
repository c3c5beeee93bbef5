"""What an `Rssm` can be: its config, and the papers' models by name, in sizes from 0.5 M to 200 M weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dreamgym.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an `Rssm` is; the defaults are Dreamer V3's losses in a size for CPUs. Functions below name the papers'."""

    latent: str = "categorical"
    """`"categorical"` (Dreamer V2 and V3) or `"gaussian"` (PlaNet and Dreamer V1)."""
    groups: int = 16
    """G, categoricals of a latent; of a Gaussian one its dimensions."""
    classes: int = 16
    """K, classes of each categorical; a Gaussian latent ignores it."""
    deter_dim: int = 256
    """D, width of the deterministic memory."""
    hidden_dim: int = 256
    """Width of all perceptrons' hidden layers."""
    blocks: int = 0
    """Blocks of the recurrent weights, as in Dreamer V3; 0 leaves them dense."""
    prior_layers: int = 1
    """Hidden layers between memory and prior; the posterior has one."""
    prior_draws: int = 1
    """In how many draws the prior decides on a latent of categoricals, each draw knowing those before. At 1 all groups
    are drawn apart from each other, as in the papers: then what only many of them together can show, and what comes up
    in some steps alone, hardly ever comes up in a dream."""
    draw_dim: int = 64
    """Hidden width of the perceptron by which a draw knows those before."""
    head_layers: int = 1
    """Hidden layers of the heads for reward and continue, and of the perceptrons for vectors."""
    vector_layers: int | None = None
    """Hidden layers of the perceptrons for vectors, if they have not `head_layers`."""
    head_dim: int | None = None
    """Width of all of these, if it is not `hidden_dim`."""
    channels: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Of the encoder's convolutions; the decoder mirrors them."""
    norm: str = "layer"
    """Of the hidden layers and gates: `"none"`, `"layer"` or `"rms"`."""
    gates_norm: str | None = None
    """Of the dense memory's gates, if it is not `norm`."""
    conv_norm: str = "none"
    """Of the convolutions, over the channels."""
    activation: str = "silu"
    """`"tanh"`, `"relu"`, `"elu"` or `"silu"`."""
    conv_activation: str | None = None
    """Between the convolutions, if it is not `activation`."""
    unimix: float = 0.01
    """Share of a categorical's probability that is spread evenly, so that no divergence is infinite."""
    dream_unimix: float | None = None
    """The same share while dreaming, if it is not `unimix`: at 0 no dream takes a turn that was never held possible."""
    symlog: bool = True
    """Vectors are read and drawn as symmetric logarithms."""
    features: str = "hz"
    """What a policy sees: `"z"`, or `"hz"`; memory helps it and invites it to exploit the model."""
    reward: str = "two_hot"
    """`"two_hot"`, a histogram that fits all scales above 0.1, or `"squared"` error."""
    reward_scale: float = 1.0
    """The head learns reward times this. Choose it so that the product is about 1: of rewards of 1e6 the squared error
    drowns the rest of the loss; rewards far below 0.1 all lie in the two-hot head's middle bin."""
    ending: str = "state"
    """What the end of an episode is read from: `"state"`, or `"memory"`, which knows all but the last picture: then an
    end is foreseen from what leads to it, and a latent that fails to draw the last picture does not hide it."""
    reconstruction_weight: float = 1.0
    """Weight of the squared error of an observation, summed over pixels; 0.5 makes it a unit Gaussian's nats."""
    bright_weight: float = 0.0
    """A pixel's error weighs 1 plus this times the brightest of its colours, in [0, 1]: for small things in the dark,
    which are otherwise left out."""
    odd_weight: float = 0.0
    """And this times how far the pixel's brightness is from its mean over the batch: for things seldom there, bright or
    dark, which a picture that stays what it always was would leave out."""
    last_picture: bool = True
    """Whether the observation of a terminated step is learned; False where the env shows none that means anything."""
    reward_weight: float = 1.0
    """Weight of the reward's loss."""
    reward_members: int = 1
    """Reward heads; the reward is their mean, and with two or more a step tells their `"disagreement"`."""
    continue_weight: float = 1.0
    """Weight of the cross-entropy of going on."""
    dynamics_weight: float = 0.5
    """Weight of the KL that pulls the prior towards the posterior."""
    representation_weight: float = 0.1
    """Weight of the KL that pulls the posterior towards the prior."""
    free_nats: float = 1.0
    """Nats of either KL that cost nothing."""
    dynamics_free_nats: float | None = None
    """Nats of the KL that pulls the prior, if they are not `free_nats`: at 0 the prior never stops learning."""
    free_nats_each: bool = False
    """Whether they are free at every single moment, or else on the mean over the batch."""


def planet(size: str | None = None) -> Config:
    """Return PlaNet: a Gaussian latent of 30, ReLU, one KL with 3 free nats; by default the paper's widths of 200.

    The paper has no head for the end of an episode. The KL's gradient reaches prior and posterior alike, which takes
    two terms of the loss here: their logged sum counts the KL twice.

    Args:
        size: `"tiny"`, `"cpu"`, or `"size1m"` to `"size200m"`, named after the weights of the world model on pictures
            of 64x64, give or take 6%.

    Raises:
        UnknownName: if it is another size.

    Source: Hafner et al. 2019, section 3 and appendix A; the reward's weight of 10 is its code's. Not taken over:
    overshooting, pictures of 5 bits, and Keras' gated recurrent unit, for which `DenseGru` stands.
    """
    return _sized(_GAUSSIAN, _GAUSSIAN_SIZES, size)


def dreamer_v1(size: str | None = None) -> Config:
    """Return Dreamer V1: PlaNet's world model with ELU behind the convolutions, and heads of width 400.

    Its KL is logged twice, as `planet` says; so are its sizes.

    Raises:
        UnknownName: if there is no such size.

    Source: Hafner et al. 2020, appendix A; the continue head's weight of 10 is its code's.
    """
    config = replace(
        _GAUSSIAN, activation="elu", conv_activation="relu", head_dim=400, reward_weight=0.5, continue_weight=10.0
    )
    return _sized(config, _GAUSSIAN_SIZES, size)


def dreamer_v2(size: str | None = None) -> Config:
    """Return Dreamer V2 as for Atari: a latent of 32 x 32, KL balancing of 0.8, normalised gates, no free nats.

    Args:
        size: as `planet` says.

    Raises:
        UnknownName: if there is no such size.

    Source: Hafner et al. 2021, appendix D: beta is 0.1, of which 0.8 pull the prior. The continue head's weight of 5
    is its code's. Rewards are to be clipped by tanh, as the paper does, before they are recorded.
    """
    config = Config(
        latent="categorical",
        groups=32,
        classes=32,
        deter_dim=600,
        hidden_dim=600,
        head_dim=400,
        head_layers=4,
        channels=(48, 96, 192, 384),
        norm="none",
        gates_norm="layer",
        activation="elu",
        unimix=0.0,
        symlog=False,
        reward="squared",
        reconstruction_weight=0.5,
        reward_weight=0.5,
        continue_weight=5.0,
        dynamics_weight=0.1 * 0.8,
        representation_weight=0.1 * 0.2,
        free_nats=0.0,
    )
    return _sized(config, _CATEGORICAL_SIZES, size)


def dreamer_v3(size: str | None = None) -> Config:
    """Return Dreamer V3 as published in 2025, where the dynamics' KL weighs 1.0 (0.5 in 2023); by default of 200 M.

    Args:
        size: `"tiny"`, `"cpu"`, or `"size1m"` to `"size200m"` as its code defines them. Those names count the actor and
            the critic too: the world model has 0.65 to 0.95 of the weights.

    Raises:
        UnknownName: if there is no such size.

    Source: Hafner et al. 2025, methods and table of sizes; `"size1m"` is its code's. The decoder's first layer is dense
    here, in blocks there. The sizes for CPUs have a dense memory, which at these widths is the faster one.
    """
    config = Config(
        groups=32,
        blocks=8,
        prior_layers=2,
        vector_layers=3,
        norm="rms",
        conv_norm="rms",
        activation="silu",
        unimix=0.01,
        symlog=True,
        reward="two_hot",
        dynamics_weight=1.0,
        representation_weight=0.1,
        free_nats=1.0,
        free_nats_each=True,
    )
    return _sized(config, _BLOCK_SIZES, size or "size200m")


def take_cover() -> Config:
    """Return the model of Doom's TakeCover: small things in a dark room, and a death that no picture shows.

    Imps and fireballs are what is seldom there, so odd pixels weigh more. The end is foreseen from the memory, since
    the game shows nothing after it; the prior learns without free nats and dreams without the share spread evenly, so
    that what has come up does not vanish by chance. A fireball is drawn by many groups together: the prior decides on
    them in eight draws, and the posterior is pulled hard towards it, or else fireballs come up too seldom.
    """
    return Config(
        groups=32,
        prior_draws=8,
        deter_dim=384,
        reward="squared",
        reward_scale=0.25,
        ending="memory",
        continue_weight=15.0,
        odd_weight=30.0,
        last_picture=False,
        dynamics_weight=1.0,
        representation_weight=2.0,
        dynamics_free_nats=0.0,
        dream_unimix=0.0,
    )


def _sized(config: Config, sizes: Mapping[str, Mapping[str, Any]], size: str | None) -> Config:
    if size is None:
        return config
    if size not in sizes:
        raise UnknownName("size", size, sizes)
    return replace(config, **sizes[size])


def _dense(width: int, channels: int, **latent: int) -> dict[str, Any]:
    """Return a size whose layers all have one width."""
    doubled = tuple(channels * 2**i for i in range(4))
    return {"deter_dim": width, "hidden_dim": width, "head_dim": None, "channels": doubled, **latent}


def _blocks(width: int) -> dict[str, Any]:
    """Return a size of Dreamer V3, which follows from the width of the hidden layers."""
    depth = width // 16
    channels = (2 * depth, 3 * depth, 4 * depth, 4 * depth)
    return {"deter_dim": 8 * width, "hidden_dim": width, "classes": depth, "channels": channels}


_NAMES = ("size1m", "size12m", "size25m", "size50m", "size100m", "size200m")
_CHANNELS = (8, 16, 24, 32, 48, 64)

_GAUSSIAN = Config(
    latent="gaussian",
    groups=30,
    deter_dim=200,
    hidden_dim=200,
    head_layers=2,
    channels=(32, 64, 128, 256),
    norm="none",
    activation="relu",
    unimix=0.0,
    symlog=False,
    reward="squared",
    reconstruction_weight=0.5,
    reward_weight=5.0,
    dynamics_weight=1.0,
    representation_weight=1.0,
    free_nats=3.0,
)
_GAUSSIAN_SIZES = {
    "tiny": _dense(128, 8),
    "cpu": _dense(256, 16),
    **{
        name: _dense(width, channels)
        for name, width, channels in zip(_NAMES, (192, 800, 1152, 1664, 2304, 3328), _CHANNELS, strict=True)
    },
}
_CATEGORICAL_CPU = {"tiny": _dense(128, 8, groups=8, classes=8), "cpu": _dense(256, 16, groups=16, classes=16)}
_CATEGORICAL_SIZES = {
    **_CATEGORICAL_CPU,
    **{
        name: _dense(width, channels, groups=32, classes=channels)
        for name, width, channels in zip(_NAMES, (128, 640, 896, 1280, 1792, 2560), _CHANNELS, strict=True)
    },
}
_BLOCK_SIZES = {
    **{name: {**size, "blocks": 0} for name, size in _CATEGORICAL_CPU.items()},
    **{name: _blocks(width) for name, width in zip(_NAMES, (64, 256, 384, 512, 768, 1024), strict=True)},
}

SIZES = tuple(_BLOCK_SIZES)
"""Names that every function above knows."""

PRESETS: Mapping[str, Callable[[], Config]] = {
    **{family.__name__: family for family in (planet, dreamer_v1, dreamer_v2, dreamer_v3, take_cover)},
    **{
        f"{family.__name__}-{size}": partial(family, size)
        for family in (planet, dreamer_v1, dreamer_v2, dreamer_v3)
        for size in SIZES
    },
}
"""`dreamer_v2`, `dreamer_v3-size12m`, ...: what `dreamgym train --preset` takes."""
