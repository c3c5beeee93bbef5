"""The Dreamers by name: what each paper's agent is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DreamerConfig:
    """What a `Dreamer` is and how it learns; the defaults are Dreamer V3's losses, sized and hurried for one core."""

    horizon: int = 15
    """H, imagined steps of an update."""
    gamma: float = 0.99
    """Discount a step."""
    lambda_: float = 0.95
    """Of the lambda returns: 0 trusts the critic, 1 the imagined rewards."""
    reinforce: float = 1.0
    """Share of the policy gradient in the actor's loss; the rest are value gradients through the dynamics."""
    normalise: bool = True
    """Advantages are divided by the running range of the returns."""
    return_decay: float = 0.99
    """Of that range, an update."""
    return_limit: float = 1.0
    """Smallest range: below it advantages are not blown up further."""
    entropy: float = 3e-4
    """Weight of the actor's entropy."""
    exploration: float = 0.0
    """Standard deviation of noise on real Box actions, half ranges; share of random Discrete ones."""
    critic: str = "two_hot"
    """`"two_hot"`, a histogram that fits any scale, or `"squared"` error, for which returns should be about 1."""
    slow_rate: float = 0.02
    """How far the slow critic moves to the critic; 0 for none."""
    slow_every: int = 1
    """Updates between two of its moves."""
    slow_target: bool = False
    """The slow critic completes the returns; otherwise the critic does."""
    slow_weight: float = 1.0
    """Weight of the critic's distance to the slow one in its loss."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of the actor and of the critic."""
    activation: str = "silu"
    """Of the hidden layers: tanh, relu, elu or silu."""
    norm: str = "rms"
    """Of the hidden layers: none, layer or rms."""
    distribution: str = "bounded_normal"
    """Of Box actions: `"bounded_normal"` or `"tanh_normal"`."""
    unimix: float = 0.01
    """Share of a Discrete action's probability that is spread evenly."""
    min_std: float = 0.1
    """Of Box actions, half ranges."""
    max_std: float = 1.0
    """Of Box actions, half ranges; a `"tanh_normal"` ignores it."""
    init_std: float = 0.9
    """Of Box actions before anything is learned; for a `"tanh_normal"` before tanh."""
    actor_rate: float = 1e-3
    """Adam's learning rate of the actor."""
    critic_rate: float = 1e-3
    """Adam's learning rate of the critic."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    grad_clip: float = 100.0
    """Largest norm of the gradient of the actor, and of the critic."""
    reward_scale: float = 1.0
    """Rewards are multiplied by it first."""


def dreamer_v1(**changes: Any) -> DreamerConfig:
    """Return Dreamer V1's agent: value gradients through the dynamics, a critic by squared error.

    Source: Hafner et al. 2020, section 3 and appendix A; rewards should be about 1 a step or less.
    """
    config = DreamerConfig(
        gamma=0.99, reinforce=0.0, normalise=False, entropy=0.0, exploration=0.3, critic="squared", slow_rate=0.0,
        slow_weight=0.0, hidden=(300, 300, 300), activation="elu", norm="none", distribution="tanh_normal", unimix=0.0,
        min_std=1e-4, init_std=5.0, actor_rate=8e-5, critic_rate=8e-5, adam_eps=1e-7,
    )  # fmt: skip
    return replace(config, **changes)


def dreamer_v2(*, discrete: bool = True, **changes: Any) -> DreamerConfig:
    """Return Dreamer V2's agent: a slow critic completes the returns.

    Args:
        discrete: the actions' policy gradient, as for Atari; False for value gradients, as for continuous control.
        **changes: fields of `DreamerConfig`.

    Source: Hafner et al. 2021, section 2.2 and appendix D.
    """
    config = DreamerConfig(
        gamma=0.995 if discrete else 0.99, reinforce=1.0 if discrete else 0.0, normalise=False,
        entropy=1e-3 if discrete else 1e-4, critic="squared", slow_rate=1.0, slow_every=100, slow_target=True,
        slow_weight=0.0, hidden=(400, 400, 400, 400), activation="elu", norm="none", unimix=0.0,
        actor_rate=4e-5 if discrete else 8e-5, critic_rate=1e-4 if discrete else 8e-5,
    )  # fmt: skip
    return replace(config, **changes)


def dreamer_v3(**changes: Any) -> DreamerConfig:
    """Return Dreamer V3's agent with heads of 256, as in a model of 12 M weights; one setting for all domains.

    Source: Hafner et al. 2023, section "Actor critic learning" and table W.1.
    """
    config = DreamerConfig(gamma=0.997, hidden=(256, 256, 256), actor_rate=3e-5, critic_rate=3e-5)
    return replace(config, **changes)
