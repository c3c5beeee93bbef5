"""Perceptrons of agents and policies: plain torch layers, which export as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from dreamgym.errors import InvalidArgument

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}
NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "layer": lambda width: nn.LayerNorm(width, eps=1e-3),
    "rms": lambda width: nn.RMSNorm(width, eps=1e-4),
}


def make_perceptron(
    input_dim: int, output_dim: int, hidden: Sequence[int] = (), activation: str = "tanh", norm: str = "none"
) -> nn.Sequential:
    """Return layers `[..., input_dim]` -> `[..., output_dim]`.

    Args:
        input_dim, output_dim: widths of what goes in and out.
        hidden: widths of the hidden layers.
        activation: of the hidden layers, a name in `ACTIVATIONS`.
        norm: of the hidden layers before the activation, a name in `NORMS`.

    Raises:
        InvalidArgument: if activation or norm is unknown.
    """
    for name, value, known in (("activation", activation, ACTIVATIONS), ("norm", norm, NORMS)):
        if value not in known:
            raise InvalidArgument(f"{name} is {value!r}; expected one of {', '.join(known)}.")
    layers: list[nn.Module] = []
    widths = [input_dim, *hidden]
    normalise = NORMS[norm]
    for i, width in enumerate(hidden):
        layers.append(nn.Linear(widths[i], width))
        if normalise is not None:
            layers.append(normalise(width))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers, nn.Linear(widths[-1], output_dim))
