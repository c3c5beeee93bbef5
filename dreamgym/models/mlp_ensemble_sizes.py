"""What an `mlp_ensemble` is made of, and the ensembles of the papers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dreamgym.errors import InvalidArgument
from dreamgym.models.known import LEARNED

PROPAGATIONS = ("ts1", "tsinf")
FEATURES = ("standardised", "raw")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an `MlpEnsemble` is; the defaults are PETS', but for `beta_nll`."""

    num_members: int = 5
    """N, perceptrons; with a single one no step tells a disagreement."""
    num_elites: int | None = None
    """E, how many of them dream, those with the lowest loss on held-out episodes; None takes all."""
    hidden_dim: int = 200
    """Width of the hidden layers."""
    layers: int = 3
    """Hidden layers."""
    activation: str = "silu"
    """`"tanh"`, `"relu"`, `"elu"` or `"silu"`."""
    probabilistic: bool = True
    """Whether members predict variances too; without them the loss is the squared error, and a member never varies."""
    beta_nll: float = 0.5
    """Power of the variance that weighs the likelihood's terms in training, from 0, the likelihood itself, to 1, a
    squared error. At 0 a number that is hard to learn, as a reward, gets a large variance and is learned no more
    (Seitzer et al. 2022)."""
    propagation: str = "ts1"
    """Which member dreams: `"ts1"` draws one for every step, `"tsinf"` keeps one until something real is observed."""
    bootstrap: bool = True
    """Whether each of several members weighs each transition by a Poisson number of its own, 0 for 37% of them."""
    reward: str = LEARNED
    """`"learned"`, or a known reward by its name in `models/known.py`: `"cart_pole"`, `"pendulum"`."""
    termination: str = LEARNED
    """`"learned"`, or a known ending by its name there: `"cart_pole"`, `"hopper"`, `"never"`."""
    features: str = "standardised"
    """What a policy sees: the observation in standard deviations of the recorded ones, or `"raw"`."""
    termination_layers: int = 2
    """Hidden layers of the one perceptron that tells endings."""
    termination_weight: float = 1.0
    """Weight of the cross-entropy of endings in the loss."""
    bound_weight: float = 0.01
    """Weight of the width of the bounds of the log-variances in the loss."""
    weight_decay: float = 1e-5
    """Weight of half the sum of the squares of a member's weights in the loss."""


def pets() -> Config:
    """Return five members that all dream; Source: Chua et al. 2018, appendix A.1, but for the decay of each layer."""
    return Config(beta_nll=0.0)


def mbpo() -> Config:
    """Return seven members of four layers, of which the best five dream; Source: Janner et al. 2019, appendix C."""
    return Config(num_members=7, num_elites=5, layers=4, beta_nll=0.0)


def regression() -> Config:
    """Return the textbooks' model: one member that minimises E |f(s, a) - s'|^2."""
    return Config(num_members=1, probabilistic=False)


PRESETS: Mapping[str, Callable[[], Config]] = {"pets": pets, "mbpo": mbpo, "regression": regression}
"""By name, for the command line."""


def check(config: Config) -> None:
    """Return if the config names what exists.

    Raises:
        InvalidArgument: if it does not; the message names it.
    """
    for name, options in {"propagation": PROPAGATIONS, "features": FEATURES}.items():
        if getattr(config, name) not in options:
            raise InvalidArgument(
                f"{name} is {getattr(config, name)!r}; expected one of {', '.join(map(repr, options))}."
            )
    if not 0 <= config.beta_nll <= 1:
        raise InvalidArgument(f"beta_nll is {config.beta_nll}; expected a number in [0, 1].")
    if config.num_members < 1:
        raise InvalidArgument(f"num_members is {config.num_members}; expected at least 1.")
    if config.num_elites is not None and not 1 <= config.num_elites <= config.num_members:
        raise InvalidArgument(
            f"num_elites is {config.num_elites}; expected 1 to num_members, which is {config.num_members}."
        )
