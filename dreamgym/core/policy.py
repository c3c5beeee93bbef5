"""Small policies as files: a perceptron with its configuration in one safetensors file, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from gymnasium import Space, spaces
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from dreamgym.core.codec import action_dim, decode_action
from dreamgym.core.perceptron import make_perceptron
from dreamgym.core.spaces import space_from_json, space_to_json
from dreamgym.errors import CorruptDream, ForeignDream, InvalidArgument, PolicyMismatch

OUTPUTS = ("clip", "tanh")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What a policy is and which dream it belongs to."""

    input_dim: int
    """F, the width of the features that it sees."""
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers; none makes a linear policy."""
    activation: str = "tanh"
    """Of the hidden layers: tanh, relu, elu or silu."""
    norm: str = "none"
    """Of the hidden layers, before the activation: none, layer or rms."""
    output: str = "clip"
    """How numbers become a Box action: "clip" to its bounds, or "tanh" stretched over them. Discrete: the largest."""
    dream: str = ""
    """The dream that it was trained in."""
    model_sha256: str = ""
    """Of the weights that make the features; "" fits any model of the same width."""


class Policy(nn.Module):
    """A deterministic policy: features `[B, F]` -> actions `[B, ...]` in env units.

    Args:
        config: its shape and home.
        action_space: of the env.

    Raises:
        InvalidArgument: if the activation, norm or output is unknown, or `"tanh"` has no bounds to stretch over.
    """

    def __init__(self, config: PolicyConfig, action_space: Space[Any]) -> None:
        super().__init__()
        if config.output not in OUTPUTS:
            raise InvalidArgument(f"output is {config.output!r}; expected one of {', '.join(OUTPUTS)}.")
        if config.output == "tanh" and isinstance(action_space, spaces.Box) and not action_space.is_bounded():
            raise InvalidArgument(f"output is 'tanh', which needs bounds; {action_space} has none. Use 'clip'.")
        self.config = config
        self.action_space = action_space
        self.net = make_perceptron(
            config.input_dim, action_dim(action_space), config.hidden, config.activation, config.norm
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return `[B, A]` the raw outputs: preferences of a Discrete space, numbers yet to be bounded of a Box."""
        return self.net(features)

    def act(self, features: Tensor) -> Tensor:
        """Return `[B, ...]` actions in env units and dtype."""
        return self.bound(self(features))

    def bound(self, raw: Tensor) -> Tensor:
        """Return the actions that raw outputs `[B, A]` stand for, `[B, ...]` in env units and dtype."""
        space = self.action_space
        if isinstance(space, spaces.Box) and self.config.output == "tanh":
            low, high = (
                torch.as_tensor(x, device=raw.device, dtype=raw.dtype).flatten() for x in (space.low, space.high)
            )
            raw = low + (raw.tanh() + 1) / 2 * (high - low)
        return decode_action(space, raw)

    def num_weights(self) -> int:
        """Return how many numbers the policy was trained with."""
        return sum(p.numel() for p in self.parameters())


@torch.no_grad()
def mean_policy(policies: Sequence[Policy]) -> Policy:
    """Return one policy whose raw outputs are the mean of those of several, for example of several training seeds.

    Where one of them errs the others do not, and what each exaggerates in its own way averages out.

    Args:
        policies: for the same dream and actions, with as many hidden layers of the same kind; widths may differ. Those
            with norms, which see a whole layer, have no such mean.

    Raises:
        InvalidArgument: if there is none, or they do not fit together.
    """
    kinds = {replace(policy.config, hidden=(0,) * len(policy.config.hidden)) for policy in policies}
    actions = {str(policy.action_space) for policy in policies}
    if len(kinds) != 1 or len(actions) != 1 or next(iter(kinds)).norm != "none":
        raise InvalidArgument(
            f"policies are {[policy.config for policy in policies]} for {sorted(actions)}; expected some that differ "
            "in weights and widths alone, without norms."
        )
    layers = [[layer for layer in policy.net if isinstance(layer, nn.Linear)] for policy in policies]
    *inner, outer = range(len(layers[0]))
    widths = tuple(sum(own[i].out_features for own in layers) for i in inner)
    mean = Policy(replace(policies[0].config, hidden=widths), policies[0].action_space)
    for i, layer in enumerate(layer for layer in mean.net if isinstance(layer, nn.Linear)):
        weights: list[Tensor] = [own[i].weight for own in layers]
        biases: list[Tensor] = [own[i].bias for own in layers]
        if i == outer:  # side by side, each with its share
            layer.weight.copy_((torch.cat(weights, 1) if inner else torch.stack(weights).sum(0)) / len(layers))
            layer.bias.copy_(torch.stack(biases).mean(0))
        else:  # below the first layer nobody reads what the others hide
            layer.weight.copy_(torch.cat(weights) if i == 0 else torch.block_diag(*weights))
            layer.bias.copy_(torch.cat(biases))
    return mean.eval()


def save_policy(policy: Policy, path: str | Path) -> Path:
    """Write a policy as one safetensors file, at once or not at all, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "format": "dreamgym.policy.1",
        "config": json.dumps(asdict(policy.config)),
        "action_space": json.dumps(space_to_json(policy.action_space)),
    }
    temporary = path.with_suffix(path.suffix + ".tmp")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    try:
        temporary.write_bytes(to_safetensors(weights, metadata=header))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_policy(path: str | Path) -> Policy:
    """Return the policy that `save_policy` wrote.

    Raises:
        ForeignDream: if the file is something else, a pickle for example.
        CorruptDream: if it is truncated, or its weights are not those of its configuration.
        FileNotFoundError: if it does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no policy at {path}; expected 'shipped', 'random', 'constant:...', 'cycle:...' or a file."
        )
    if path.suffix != ".safetensors":
        raise ForeignDream(
            f"{path} is no dreamgym policy (.safetensors); files that may hold pickles are never loaded. "
            "Export it first: dreamgym.bridges.sb3.export_policy."
        )
    try:
        with safe_open(path, "pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CorruptDream(f"{path} cannot be read: {error}; copy or train it again.") from error
    if header.get("format") != "dreamgym.policy.1":
        raise ForeignDream(f"{path} is a safetensors file, but its header is no dreamgym policy's.")
    try:
        fields = json.loads(header["config"])
        config = PolicyConfig(**{**fields, "hidden": tuple(fields["hidden"])})
        policy = Policy(config, space_from_json(json.loads(header["action_space"])))
        policy.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptDream(f"{path} does not hold what its header describes: {error}") from error
    return policy.eval()


def check_policy(policy: Policy, action_space: Space[Any], feature_dim: int, model_sha256: str, dream: str) -> None:
    """Return if a policy fits a dream.

    Raises:
        PolicyMismatch: if it was made for another action space, feature width or set of weights.
    """
    config = policy.config
    if policy.action_space != action_space:
        raise PolicyMismatch(f"the policy acts in {policy.action_space}; {dream} expects {action_space}.")
    if config.input_dim != feature_dim:
        raise PolicyMismatch(f"the policy sees {config.input_dim} features; {dream} has {feature_dim}.")
    if config.model_sha256 and model_sha256 and config.model_sha256 != model_sha256:
        raise PolicyMismatch(
            f"the policy was trained in {config.dream or 'a dream'} with weights {config.model_sha256[:12]}; "
            f"{dream} has weights {model_sha256[:12]}. Train it in this dream."
        )
