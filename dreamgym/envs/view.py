"""How a dream's state is shown to whoever steps it: the observation modes, and numpy or torch on the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from dreamgym.core.codec import decode_obs
from dreamgym.core.model import WorldModel
from dreamgym.core.tree import leaves, tree_map
from dreamgym.errors import InvalidArgument

if TYPE_CHECKING:
    from dreamgym.envs.painters import Painter

OBSERVATIONS = ("pixels", "features", "both")
OUTPUTS = ("numpy", "torch")


class View:
    """Turns states into observations.

    Args:
        model: the world model.
        observation: "pixels" for what the real env shows, "features" for what a small policy wants, or "both", a Dict.
        output: "numpy" arrays, or "torch" tensors that stay on the model's device.

    Raises:
        InvalidArgument: if a mode is unknown.
    """

    def __init__(self, model: WorldModel[Any], observation: str, output: str) -> None:
        for name, value, known in (("observation", observation, OBSERVATIONS), ("output", output, OUTPUTS)):
            if value not in known:
                raise InvalidArgument(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}.")
        self.model, self.observation, self.output = model, observation, output
        features = spaces.Box(-np.inf, np.inf, (model.feature_dim,), np.float32)
        shown: dict[str, Space[Any]] = {"pixels": model.observation_space, "features": features}
        self.space = spaces.Dict(shown) if observation == "both" else shown[observation]

    def observe(self, state: Any) -> Any:
        """Return the observations of all lanes in env units, on the outside's side."""
        if self.observation == "pixels":
            return self.out(decode_obs(self.model.observation_space, self.model.decode(state)))
        if self.observation == "features":
            return self.out(self.model.features(state))
        pixels = self.out(decode_obs(self.model.observation_space, self.model.decode(state)))
        return {"pixels": pixels, "features": self.out(self.model.features(state))}

    def out(self, value: Any) -> Any:
        """Return tensors, or dicts of them, as the outside wants them; an array owns its memory."""
        if isinstance(value, dict):
            return {key: self.out(part) for key, part in value.items()}
        return value if self.output == "torch" or not isinstance(value, Tensor) else value.numpy(force=True).copy()

    @torch.no_grad()
    def pictures(self, state: Any, paint: Painter, size: int = 256) -> np.ndarray:
        """Return `[B, H, W, 3]` uint8 pictures for people, enlarged by whole pixels to at least `size` where possible.

        Args:
            state: of all lanes.
            paint: see `make_painter`.
            size: of the shorter side, pixels.

        Raises:
            NotDecodable: if the model has no decoder.
        """
        obs = tree_map(
            lambda x: x.numpy(force=True), decode_obs(self.model.observation_space, self.model.decode(state))
        )
        lanes = range(len(next(leaves(obs))))
        frames = np.stack([paint(tree_map(lambda x, i=i: x[i], obs), None) for i in lanes])
        factor = max(1, size // min(frames.shape[1:3]))
        return np.ascontiguousarray(frames.repeat(factor, 1).repeat(factor, 2))
