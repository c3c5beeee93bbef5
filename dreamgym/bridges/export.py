"""Perceptrons that other libraries trained, as dreamgym's policies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gymnasium import Space
from torch import nn

from dreamgym.core.perceptron import ACTIVATIONS
from dreamgym.core.policy import Policy, PolicyConfig, check_policy, save_policy
from dreamgym.envs.open import Model, open_dream
from dreamgym.errors import InvalidArgument, PolicyMismatch


def export_perceptron(
    layers: Iterable[nn.Module],
    dream: Model,
    action_space: Space[Any] | None = None,
    *,
    output: str = "clip",
    path: str | Path | None = None,
) -> Policy:
    """Return a trained perceptron as a policy, which `dreamgym eval` scores and `dreamgym play` drives with.

    Args:
        layers: from features to raw outputs: `nn.Linear`, with one kind of activation between them.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        action_space: of the learner; the dream's by default.
        output: how raw outputs become a Box action: "clip" to its bounds, or "tanh" stretched over them.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the layers are others.
        PolicyMismatch: if it was trained on something else than this dream's features, or for other actions.
    """
    loaded = open_dream(dream, None, (), "cpu")
    layers = list(layers)
    linears = [layer for layer in layers[::2] if type(layer) is nn.Linear]
    between = {type(layer) for layer in layers[1::2]}
    names = [name for name, activation in ACTIVATIONS.items() if activation in between]
    alternate = len(layers) % 2 == 1 and len(linears) == len(layers[::2])
    if not alternate or len(between) > 1 or len(names) != len(between):
        raise InvalidArgument(
            f"the policy's layers are {[type(layer).__name__ for layer in layers]}; expected Linear layers with "
            f"one of {', '.join(ACTIVATIONS)} between them."
        )
    config = PolicyConfig(
        input_dim=linears[0].in_features,
        hidden=tuple(layer.out_features for layer in linears[:-1]),
        activation=names[0] if names else "tanh",
        output=output,
        dream=loaded.name,
        model_sha256=loaded.model_sha256,
    )
    policy = Policy(config, loaded.model.action_space if action_space is None else action_space)
    check_policy(policy, loaded.model.action_space, loaded.model.feature_dim, loaded.model_sha256, loaded.name)
    ours = [layer for layer in policy.net if isinstance(layer, nn.Linear)]
    for mine, theirs in zip(ours, linears, strict=True):
        if mine.out_features != theirs.out_features:
            raise PolicyMismatch(
                f"the policy has {theirs.out_features} raw outputs; {loaded.name} expects {mine.out_features}."
            )
        mine.load_state_dict({name: value.cpu() for name, value in theirs.state_dict().items()})
    if path is not None:
        save_policy(policy, path)
    return policy.eval()


def first_outputs(layer: nn.Module, count: int) -> nn.Module:
    """Return a Linear layer that gives the first outputs of another one, which are means where deviations follow."""
    if type(layer) is not nn.Linear or layer.bias is None:
        return layer  # `export_perceptron` says what it is
    first = nn.Linear(layer.in_features, count)
    first.load_state_dict({name: value[:count] for name, value in layer.state_dict().items()})
    return first
