"""What an `mlp_ensemble` is made of, and the ensembles of the papers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LEARNED = "learned"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an `MlpEnsemble` is; the defaults are PETS'."""

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
    return Config()


def mbpo() -> Config:
    """Return seven members of four layers, of which the best five dream; Source: Janner et al. 2019, appendix C."""
    return Config(num_members=7, num_elites=5, layers=4)


def regression() -> Config:
    """Return the textbooks' model: one member that minimises E |f(s, a) - s'|^2."""
    return Config(num_members=1, probabilistic=False)


PRESETS: Mapping[str, Callable[[], Config]] = {"pets": pets, "mbpo": mbpo, "regression": regression}
"""By name, for the command line."""
