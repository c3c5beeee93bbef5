"""EvoTorch: a dream as the env of its `VecGymNE`, one lane a solution, and what it evolved as a dreamgym policy."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

from dreamgym.bridges.export import export_perceptron
from dreamgym.bridges.open import open_envs
from dreamgym.core.policy import Policy
from dreamgym.envs.open import Model
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, InvalidArgumentType, MissingExtra

try:
    from evotorch.neuroevolution import VecGymNE
    from evotorch.neuroevolution.net.multilayered import MultiLayered
except ImportError as error:
    raise MissingExtra("the bridge to EvoTorch", "evotorch", "evotorch") from error


class DreamFactory:
    """Makes as many lanes of a dream as EvoTorch asks for: the `env` of its `VecGymNE`.

        problem = VecGymNE(DreamFactory("DreamDodge-v0"), "Linear(obs_length, act_length)", num_episodes=4)

    It can be pickled, and every process loads a dream's weights once: `num_actors=2` takes no more than that. The
    dreams of a factory follow from Python's `random.seed`, which EvoTorch calls in its actors.

    Args:
        model: what `DreamVectorEnv` takes; an id or a folder, or else its weights are sent to every actor.
        **kwargs: options of `DreamVectorEnv`; `observation` is "features" and `output` "torch" by default.

    Raises:
        InvalidArgumentType: if `model` is an env.
    """

    def __init__(self, model: Model, **kwargs: Any) -> None:
        if isinstance(model, (gym.Env, gym.vector.VectorEnv)):
            raise InvalidArgumentType(
                f"model is a {type(model).__name__}; EvoTorch asks for as many lanes as it has solutions: give the "
                "dream's id, its folder or a LoadedDream."
            )
        self.model, self.kwargs = model, kwargs

    def __call__(self, num_envs: int, **kwargs: Any) -> DreamVectorEnv:
        """Return lanes that dream anew; `kwargs` are EvoTorch's `env_config`, and override the factory's.

        Raises:
            InvalidArgument: if another autoreset mode, or an output other than tensors, is asked for.
            UnsupportedSpace: if actions are integers that do not start at 0.
        """
        envs = open_envs(self.model, num_envs, AutoresetMode.SAME_STEP, "EvoTorch", **{**self.kwargs, **kwargs})
        envs.reset(seed=random.getrandbits(62))  # EvoTorch seeds no env, but `random` in each of its actors
        return envs


def export_policy(problem: VecGymNE, solution: Iterable[float], dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a solution does, as a dreamgym policy; the normalisation of what it sees goes into its weights.

    Args:
        problem: with a network of Linear layers and one kind of activation between them.
        solution: a `Solution`, or its numbers: `searcher.status["center"]`.
        dream: the dream that it was evolved in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the network is another one.
        PolicyMismatch: if it was evolved on something else than this dream's features, or for other actions.
    """
    net = problem.make_net(solution)
    layers = [*net] if isinstance(net, (nn.Sequential, MultiLayered)) else [net]
    if not (type(layers[0]) is nn.Linear and type(layers[-1]) is nn.Linear):
        raise InvalidArgument(
            f"the network's layers are {[type(layer).__name__ for layer in layers]}; expected Linear layers at both "
            "ends to export it."
        )
    layers = [_with_bias(layer) if type(layer) is nn.Linear else layer for layer in layers]
    stats = problem.get_observation_stats() if problem.observation_normalization else None
    if stats is not None:
        first = layers[0]
        with torch.no_grad():
            first.weight /= stats.stdev.cpu()  # [out, in]
            first.bias -= first.weight @ stats.mean.cpu()
    return export_perceptron(layers, dream, path=path)


def _with_bias(layer: nn.Linear) -> nn.Linear:
    """Return a copy of a Linear layer, with a bias even if it had none."""
    copy = nn.Linear(layer.in_features, layer.out_features)
    with torch.no_grad():
        copy.weight.copy_(layer.weight)
        copy.bias.copy_(torch.zeros_like(copy.bias) if layer.bias is None else layer.bias)
    return copy
