"""The 2018 world model: a VAE that sees, and a mixture-density LSTM that dreams in its latent space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from dreamgym.core import share
from dreamgym.core.codec import action_dim
from dreamgym.core.model import Obs, SequenceBatch, StageConfig, Transition, WorldModel
from dreamgym.core.sampling import PerLane, mixture_nll, sample_mixture
from dreamgym.core.spaces import is_image
from dreamgym.core.tree import where
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.models.conv_vae import ConvVae
from dreamgym.models.layers import LSTMCell, masked_mean
from dreamgym.models.one_lane import one_lane_step, one_lane_weights
from dreamgym.models.packed import Derived, PackedLinear, plain_torch

FEATURES = {"z": ("z",), "zh": ("z", "h"), "zch": ("z", "c", "h")}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a `VaeMdnRnn` is; the defaults are the paper's CarRacing."""

    latent_dim: int = 32
    """Z, numbers that stand for a picture."""
    hidden_dim: int = 256
    """D, width of the LSTM."""
    num_mixtures: int = 5
    """K, Gaussians for each latent dimension; 1 leaves a dream that cannot branch."""
    channels: tuple[int, int, int, int] = (32, 64, 128, 256)
    """Of the encoder's convolutions."""
    features: str = "zh"
    """What a policy sees: `"z"`, `"zh"` or `"zch"`; more memory helps it and invites it to exploit the model."""
    kl_tolerance: float = 0.5
    """Nats of KL a latent dimension that cost nothing."""
    kl_weight: float = 1.0
    """Weight of the other nats; below 1 the latents hold more of the picture, and the dream is sharper."""
    reward_scale: float = 1.0
    """The reward head learns reward times this; choose it so that the product is about 1."""
    reward_weight: float = 1.0
    """Weight of the reward's squared error in the loss of the memory, beside the nats of a latent dimension."""
    ending_weight: float = 10.0
    """Weight of a termination, which is rare, against any other step."""


def car_racing() -> Config:
    """Return the paper's sizes for CarRacing: 4,348,547 weights see and 422,368 dream."""
    return Config()


def doom() -> Config:
    """Return the paper's sizes for Doom's TakeCover: 4,446,915 weights see and 1,678,785 dream.

    Its memory reads two inputs beside z: there a number and a restart flag, here an action of width 2.
    """
    return Config(latent_dim=64, hidden_dim=512, features="zch")


@dataclass(frozen=True)
class State:
    """One moment: what is seen, and what is remembered of all that came before it."""

    z: Tensor
    """`[B, Z]` the latent of the current observation."""
    h: Tensor
    """`[B, D]` the LSTM's output after all earlier latents and actions; this latent is not in it yet."""
    c: Tensor
    """`[B, D]` the LSTM's cell at that time."""


class VaeMdnRnn(WorldModel[State], nn.Module):
    """V and M of "World Models", with the reward that the paper's CarRacing dream lacks.

    Args:
        config: sizes and weights of the losses.
        observation_space: pictures, uint8 `[64, 64, 3]`.
        action_space: a Box or a Discrete.

    Raises:
        UnsupportedSpace: if the observations are not such pictures.
        InvalidArgument: if the config asks for features that do not exist.

    Source: Ha & Schmidhuber 2018, "Recurrent World Models Facilitate Policy Evolution".
    """

    config_class: ClassVar[type[Config]] = Config
    presets: ClassVar[Mapping[str, Callable[[], Config]]] = {"car_racing": car_racing, "doom": doom}
    stages: Mapping[str, StageConfig] = {
        "vae": StageConfig(steps=10_000, batch_size=64, sequence_length=0),
        # endings are weighted, not oversampled: only a known weight can be taken back in `step`
        "mdn_rnn": StageConfig(steps=10_000, batch_size=32, sequence_length=64, ending_share=0.0),
    }

    def __init__(self, config: Config, observation_space: Space[Any], action_space: Space[Any]) -> None:
        super().__init__()
        if not is_image(observation_space) or observation_space.shape != (64, 64, 3):
            raise UnsupportedSpace(
                f"observation space {observation_space} is not supported by vae_mdn_rnn; expected uint8 pictures "
                f"(64, 64, 3). {_advice(observation_space)}"
            )
        if config.features not in FEATURES:
            raise InvalidArgument(f"features is {config.features!r}; expected one of {', '.join(map(repr, FEATURES))}.")
        self.config, self.observation_space, self.action_space = config, observation_space, action_space
        latent, hidden = config.latent_dim, config.hidden_dim
        self.noise_dim = 2 * latent
        self.feature_dim = sum({"z": latent, "h": hidden, "c": hidden}[part] for part in FEATURES[config.features])
        self.vae = ConvVae(latent, config.channels)
        self.lstm = LSTMCell(latent + action_dim(action_space), hidden)
        self.heads = PackedLinear(hidden, 3 * config.num_mixtures * latent + 2)  # mixture, reward, termination
        self._one_lane = Derived(one_lane_weights)

    def initial(self, batch_size: int) -> State:
        """Return empty memories; a latent of zeros stands for nothing seen yet."""
        zeros = self.heads.weight.new_zeros
        memory = zeros(batch_size, self.config.hidden_dim)
        return State(zeros(batch_size, self.config.latent_dim), memory, memory)

    def observe(self, state: State, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> State:
        """Return the state after a real observation; of `noise` the first Z numbers of a lane are used."""
        assert isinstance(obs, Tensor)
        mean, log_variance = self.vae.encode(obs)
        noise = torch.randn_like(mean) if noise is None else noise[:, : self.config.latent_dim]
        z = mean + (0.5 * log_variance).exp() * noise
        h, c = self.lstm.step([state.z, action], state.h, state.c)
        fresh = self.initial(len(z))
        return where(is_first, State(z, fresh.h, fresh.c), State(z, h, c))

    def step(
        self, state: State, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[State]:
        """Return what the dream holds to happen next; reward and termination are read from the new memory."""
        if noise is None:
            noise = torch.randn(len(state.z), self.noise_dim, device=state.z.device)
        # the loss weighs endings, which multiplies their odds by that weight: the probability is had by dividing them
        excess = math.log(self.config.ending_weight)
        if len(state.z) == 1 and self._on_numpy(state.z):
            lstm, heads = self.lstm, self.heads
            weights = self._one_lane(torch.float32, lstm.weight, lstm.bias, heads.weight, heads.bias)
            after, earned, logit = one_lane_step(weights, state.z, state.h, state.c, action, noise, float(temperature))
            ending = 0.5 + 0.5 * math.tanh(0.5 * (logit - excess))
            return Transition(State(*after), _one_lane(earned / self.config.reward_scale), _one_lane(ending))
        h, c = self.lstm.step([state.z, action], state.h, state.c)
        (logits, mean, log_std), reward, termination = self._predict(h)
        z = sample_mixture(logits, mean, log_std.exp(), noise, temperature)
        return Transition(State(z, h, c), reward / self.config.reward_scale, (termination - excess).sigmoid())

    def features(self, state: State) -> Tensor:
        """Return `[B, F]`, the parts of the state that the config names."""
        return torch.cat([getattr(state, part) for part in FEATURES[self.config.features]], 1)

    def decode(self, state: State) -> Tensor:
        """Return the pictures `[B, 3, 64, 64]` in [0, 1] that the latents stand for."""
        return self.vae.decode(state.z)

    def stage_parameters(self, stage: str) -> Iterable[nn.Parameter]:
        """Return the weights of V in stage `"vae"`, those of M in stage `"mdn_rnn"`."""
        return self.vae.parameters() if stage == "vae" else [*self.lstm.parameters(), *self.heads.parameters()]

    @torch.no_grad()
    def stage_inputs(self, obs: Obs, stage: str) -> Tensor | None:
        """Return mean and log-variance `[B, 2Z]` of each observation's latent for M, which needs no pictures."""
        assert isinstance(obs, Tensor)
        return None if stage == "vae" else torch.cat(self.vae.encode(obs), 1)

    def loss(self, batch: SequenceBatch, stage: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms: `reconstruction`, `kl` for V; `latent`, `reward`, `termination` for M."""
        terms = self._vae_loss(batch) if stage == "vae" else self._memory_loss(batch)
        return torch.stack(list(terms.values())).sum(), {name: term.detach() for name, term in terms.items()}

    def _vae_loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Return the squared error, summed over a picture's pixels, and the KL in nats above the tolerance."""
        mask = torch.cat([batch.mask.new_ones(len(batch.mask), 1), batch.mask], 1).flatten()  # [B * (T + 1)]
        obs = batch.obs.flatten(0, 1)  # [B * (T + 1), 3, 64, 64]
        mean, log_variance = self.vae.encode(obs)
        z = mean + (0.5 * log_variance).exp() * share.normal(*mean.shape, device=mean.device, dtype=mean.dtype)
        error = (self.vae.decode(z) - obs).square().flatten(1).sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        kl = kl.clamp(min=self.config.kl_tolerance * self.config.latent_dim)
        return {"reconstruction": masked_mean(error, mask), "kl": masked_mean(self.config.kl_weight * kl, mask)}

    def _memory_loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Return nats a latent dimension, squared error of the scaled reward, and weighted cross-entropy of endings."""
        config, mask = self.config, batch.mask
        mean, log_variance = batch.obs.float().chunk(2, -1)  # [B, T + 1, Z]
        # drawn anew for every batch, so that M does not learn one encoding by heart (paper, appendix A.2)
        z = mean + (0.5 * log_variance).exp() * share.normal(*mean.shape, device=mean.device, dtype=mean.dtype)
        fresh = self.initial(len(z))
        h = self.lstm.unroll(torch.cat([z[:, :-1], batch.action], 2), fresh.h, fresh.c)  # [B, T, D]
        mixture, reward, termination = self._predict(h.flatten(0, 1))
        latent = mixture_nll(*mixture, z[:, 1:].flatten(0, 1)).mean(1).view_as(mask)
        error = (reward.view_as(mask) - config.reward_scale * batch.reward).square()
        weight = mask.new_full((), config.ending_weight)
        surprise = nn.functional.binary_cross_entropy_with_logits(
            termination.view_as(mask), batch.terminated, pos_weight=weight, reduction="none"
        )
        terms = {"latent": latent, "reward": config.reward_weight * error, "termination": surprise}
        return {name: masked_mean(term, mask) for name, term in terms.items()}

    def _on_numpy(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu" and x.dtype == torch.float32 and self.heads.precision == "fp32" and not plain_torch()
        )

    def _predict(self, h: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
        """Return logits, mean and log-std `[B, Z, K]`, scaled reward `[B]` and weighted termination logit `[B]`."""
        out = self.heads(h)
        mixture = out[:, :-2].unflatten(1, (3, self.config.num_mixtures, -1)).transpose(2, 3)  # [B, 3, Z, K]
        logits, mean, log_std = mixture.unbind(1)
        return (logits, mean, log_std), out[:, -2], out[:, -1]


def _one_lane(value: float) -> Tensor:
    return torch.from_numpy(np.array([value], np.float32))  # takes half of the time of torch.tensor


def _advice(space: Space[Any]) -> str:
    """Return what to do with observations that are no pictures of the right size."""
    if is_image(space):
        return "Resize the pictures first, or train another family: --model rssm."
    if isinstance(space, spaces.Discrete):
        return "Train a family that counts: --model tabular."
    return "Train a family that reads vectors: --model mlp_ensemble, or --model rssm."
