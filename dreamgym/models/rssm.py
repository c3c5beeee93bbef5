"""Recurrent state-space models: PlaNet's and Dreamer's worlds, with Gaussian or categorical latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from gymnasium import Space
from torch import Tensor, nn

from dreamgym.core import share
from dreamgym.core.codec import action_dim
from dreamgym.core.divergence import kl_categorical, kl_normal
from dreamgym.core.model import Obs, SequenceBatch, StageConfig, Transition, WorldModel
from dreamgym.core.perceptron import ACTIVATIONS, NORMS
from dreamgym.core.sampling import PerLane, log_probs, most_likely, sample_categorical, sample_normal
from dreamgym.core.tree import tree_map, where
from dreamgym.core.two_hot import NUM_BINS, two_hot_loss, two_hot_mean
from dreamgym.errors import InvalidArgument
from dreamgym.models.coupling import Coupling
from dreamgym.models.layers import make_mlp, masked_mean, masked_mean_from
from dreamgym.models.recurrent import BlockGru, DenseGru
from dreamgym.models.rssm_sizes import PRESETS, Config
from dreamgym.models.senses import Decoder, Encoder

__all__ = ["Config", "Rssm", "State"]

LATENTS = ("categorical", "gaussian")
REWARDS = ("two_hot", "squared")
ENDINGS = ("state", "memory")
FEATURES = {"z": ("stoch",), "hz": ("deter", "stoch")}
_MIN_STD = 0.1


@dataclass(frozen=True)
class State:
    """One moment: what is remembered, and what is seen now."""

    deter: Tensor
    """`[B, D]` the deterministic memory of all that came before."""
    stoch: Tensor
    """`[B, Z]` the latent: a Gaussian's draw, or G one-hots of K classes, `[K, G]` flattened."""


class Rssm(WorldModel[State], nn.Module):
    """A recurrent state-space model.

    Args:
        config: sizes and losses.
        observation_space: pictures with sides that are multiples of 16, vectors, or a Dict of these.
        action_space: a Box or a Discrete.

    Raises:
        UnsupportedSpace: if the model cannot see or act in such spaces.
        InvalidArgument: if the config names something that does not exist.

    Source: Hafner et al. 2019 (PlaNet), 2020 (Dreamer V1), 2021 (Dreamer V2), 2023 and 2025 (Dreamer V3). Unlike all
    of them the convolutions are padded, so that pictures halve exactly, actions are read in env units, and the prior
    may draw a categorical latent's groups one block after the other (`Config.prior_draws`, `models.coupling`).
    """

    config_class: ClassVar[type[Config]] = Config
    presets: ClassVar[Mapping[str, Callable[[], Config]]] = PRESETS
    stages: Mapping[str, StageConfig] = {
        "rssm": StageConfig(
            steps=6000, batch_size=20, sequence_length=31, learning_rate=6e-4, grad_clip=50.0, ending_share=0.0
        ),
    }

    def __init__(self, config: Config, observation_space: Space[Any], action_space: Space[Any]) -> None:
        super().__init__()
        _check(config)
        self.config, self.observation_space, self.action_space = config, observation_space, action_space
        self.categorical = config.latent == "categorical"
        self.stoch_dim = config.groups * config.classes if self.categorical else config.groups
        self.noise_dim = config.groups
        self.feature_dim = (config.deter_dim if config.features == "hz" else 0) + self.stoch_dim
        deter, hidden, belief = config.deter_dim, config.hidden_dim, self.stoch_dim * (1 if self.categorical else 2)
        style: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
        senses: dict[str, Any] = {
            "channels": config.channels, "conv_norm": config.conv_norm,
            "conv_activation": config.conv_activation or config.activation, "hidden_dim": config.head_dim or hidden,
            "layers": config.head_layers if config.vector_layers is None else config.vector_layers,
            "log": config.symlog, **style,
        }  # fmt: skip
        sizes = (self.stoch_dim, action_dim(action_space), deter, hidden)
        self.encoder = Encoder(observation_space, **senses)
        self.gru = (
            BlockGru(*sizes, **style, blocks=config.blocks)
            if config.blocks
            else DenseGru(*sizes, **style, gates_norm=config.gates_norm)
        )
        self.prior = make_mlp(deter, belief, hidden_dim=hidden, layers=config.prior_layers, **style)
        if config.prior_draws > 1:
            self.coupling = Coupling(
                hidden if config.prior_layers else deter,
                config.groups, config.classes, config.prior_draws, config.draw_dim, config.activation,
            )  # fmt: skip
        self.posterior = make_mlp(deter + self.encoder.code_dim, belief, hidden_dim=hidden, layers=1, **style)
        weights: dict[str, Any] = {"bright_weight": config.bright_weight, "odd_weight": config.odd_weight}
        self.decoder = Decoder(deter + self.stoch_dim, observation_space, **weights, **senses)
        outputs = NUM_BINS if config.reward == "two_hot" else 1
        head: dict[str, Any] = {"hidden_dim": config.head_dim or hidden, "layers": config.head_layers, **style}
        self.rewards = nn.ModuleList(
            make_mlp(deter + self.stoch_dim, outputs, zero=True, **head) for _ in range(config.reward_members)
        )
        self.ending = make_mlp(deter + (self.stoch_dim if config.ending == "state" else 0), 1, **head)

    def initial(self, batch_size: int) -> State:
        """Return empty memories and a latent of zeros, which stands for nothing seen yet."""
        zeros = cast(nn.Linear, self.prior[0]).weight.new_zeros
        return State(zeros(batch_size, self.config.deter_dim), zeros(batch_size, self.stoch_dim))

    def observe(self, state: State, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> State:
        """Return the posterior state; noise that is exactly 0 picks a Gaussian's mean, a categorical's top class."""
        state = where(is_first, self.initial(len(is_first)), state)
        deter = self.gru(state.deter, state.stoch, action * ~is_first[:, None])
        belief = self.posterior(torch.cat([deter, self.encoder(obs)], 1))
        if noise is None:
            noise = torch.randn(len(deter), self.noise_dim, device=deter.device)
        stoch = self._draw(belief, noise)
        if self.categorical:
            likeliest = most_likely(self._groups(belief)).transpose(1, 2)  # [B, K, G]
            drawn = stoch.view_as(likeliest)
            stoch = torch.where(noise[:, None] == 0, likeliest, drawn).flatten(1)
        return State(deter, stoch)

    def step(
        self, state: State, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[State]:
        """Return what the dream holds to happen next; the reward is read from the new state."""
        deter = self.gru(state.deter, state.stoch, action)
        if noise is None:
            noise = torch.randn(len(deter), self.noise_dim, device=deter.device)
        after = State(deter, self._imagine(deter, noise, temperature))
        full = torch.cat([after.deter, after.stoch], 1)
        ending = self._ending(full).sigmoid()
        if len(self.rewards) == 1:
            return Transition(after, self._reward(self.rewards[0](full)), ending)
        members = torch.stack([self._reward(head(full)) for head in self.rewards])  # [N, B]
        return Transition(after, members.mean(0), ending, {"disagreement": members.std(0)})

    def features(self, state: State) -> Tensor:
        """Return `[B, F]`, the parts of the state that the config names."""
        return torch.cat([getattr(state, part) for part in FEATURES[self.config.features]], 1)

    def decode(self, state: State) -> Obs:
        """Return the observations that states stand for."""
        return self.decoder(torch.cat([state.deter, state.stoch], 1))

    def stage_parameters(self, stage: str) -> Iterable[nn.Parameter]:
        """Return all weights: the model has one stage."""
        return self.parameters()

    def stage_inputs(self, obs: Obs, stage: str) -> Tensor | None:
        """Return None: the encoder is trained with the rest and needs the observations."""
        return None

    def loss(self, batch: SequenceBatch, stage: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms: reconstruction, dynamics, representation, reward, continue, as weighted.

        Under autocast the convolutions alone are computed in the lower precision: errors of the memory add up.
        """
        config = self.config
        length = batch.action.shape[1] + 1  # T + 1
        obs = tree_map(lambda x: x.flatten(0, 1), batch.obs)  # [B * (T + 1), ...]
        code = self.encoder(obs)
        with torch.autocast(code.device.type, enabled=False):
            deter, stoch, posterior = self._filter(batch.action, code.float().unflatten(0, (-1, length)))
            full = torch.cat([deter, stoch], 2)  # [B, T + 1, D + Z]
            prior = self._foresee(deter.flatten(0, 1), stoch.detach().flatten(0, 1))
            dynamics, representation = self._divergences(posterior.flatten(0, 1), prior)  # [B * (T + 1)]
            after = full[:, 1:].flatten(0, 1)  # [B * T, D + Z]
            members = [self._reward_loss(head(after), batch.reward.flatten()) for head in self.rewards]
            reward = torch.stack(members).mean(0)  # [B * T]
            ending = nn.functional.binary_cross_entropy_with_logits(
                self._ending(after), batch.terminated.flatten(), reduction="none"
            )
        error = self.decoder.error(full.flatten(0, 1), obs)
        mask = batch.mask.flatten()  # [B * T]
        shown = batch.mask if config.last_picture else batch.mask * (1 - batch.terminated)  # [B, T]
        seen = torch.cat([shown.new_ones(len(shown), 1), shown], 1).flatten()  # [B * (T + 1)]
        terms = {
            "reconstruction": config.reconstruction_weight * masked_mean(error, seen),
            "dynamics": config.dynamics_weight * self._costly(dynamics, seen, config.dynamics_free_nats),
            "representation": config.representation_weight * self._costly(representation, seen),
            "reward": config.reward_weight * masked_mean(reward, mask),
            "continue": config.continue_weight * masked_mean(ending, mask),
        }
        return torch.stack(list(terms.values())).sum(), {name: term.detach() for name, term in terms.items()}

    def _filter(self, action: Tensor, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return memories `[B, T + 1, D]`, latents `[B, T + 1, Z]` and posteriors of what was observed.

        Args:
            action: `[B, T, A]`.
            code: `[B, T + 1, E]` of the observations.
        """
        first, *rest = self.posterior
        assert isinstance(first, nn.Linear)
        weight_deter, weight_code = first.weight.split([self.config.deter_dim, code.shape[2]], 1)
        seen = nn.functional.linear(code, weight_code, first.bias)  # one product for all of the observations
        previous = torch.cat([torch.zeros_like(action[:, :1]), action], 1)  # [B, T + 1, A]
        noise = share.normal(len(action), code.shape[1], self.noise_dim, device=code.device)
        state = self.initial(len(action))
        deters, stochs, beliefs = [], [], []
        for act, code_part, draw in zip(previous.unbind(1), seen.unbind(1), noise.unbind(1), strict=True):
            deter = self.gru(state.deter, state.stoch, act)
            belief = torch.addmm(code_part, deter, weight_deter.t())
            for layer in rest:
                belief = layer(belief)
            state = State(deter, self._draw(belief, draw))
            deters.append(deter)
            stochs.append(state.stoch)
            beliefs.append(belief)
        return torch.stack(deters, 1), torch.stack(stochs, 1), torch.stack(beliefs, 1)

    def _divergences(self, posterior: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Return KL(posterior || prior) twice, `[B]` each: gradients reach only the prior, only the posterior."""
        if self.categorical:
            ours, theirs = (self._log_probs(belief) for belief in (posterior, prior))
            return kl_categorical(ours.detach(), theirs), kl_categorical(ours, theirs.detach())
        (mean, std), (prior_mean, prior_std) = self._normal(posterior), self._normal(prior)
        return (
            kl_normal(mean.detach(), std.detach(), prior_mean, prior_std),
            kl_normal(mean, std, prior_mean.detach(), prior_std.detach()),
        )

    def _costly(self, nats: Tensor, mask: Tensor, free: float | None = None) -> Tensor:
        """Return the mean of a KL `[B]`, of which some nats have no gradient; as many as the config says by default."""
        free = self.config.free_nats if free is None else free
        return (
            masked_mean(nats.clamp(min=free), mask)
            if self.config.free_nats_each
            else masked_mean_from(free, nats, mask)
        )

    def _draw(self, belief: Tensor, noise: Tensor, temperature: PerLane = 1.0, unimix: float | None = None) -> Tensor:
        """Return the latent `[B, Z]` that noise `[B, G]` draws from what a network gave."""
        if self.categorical:
            unimix = self.config.unimix if unimix is None else unimix
            return sample_categorical(self._groups(belief), noise, temperature, unimix).transpose(1, 2).flatten(1)
        return sample_normal(*self._normal(belief), noise, temperature)

    def _imagine(self, deter: Tensor, noise: Tensor, temperature: PerLane) -> Tensor:
        """Return the latent `[B, Z]` that noise `[B, G]` draws from the prior after memories `[B, D]`."""
        unimix = self.config.dream_unimix
        if self.config.prior_draws == 1:
            return self._draw(self.prior(deter), noise, temperature, unimix)
        parts = noise.chunk(self.config.prior_draws, 1)
        return self.coupling.draw(
            *self._prior_parts(deter), lambda n, logits: self._draw(logits, parts[n], temperature, unimix)
        )[0]

    def _foresee(self, deter: Tensor, stoch: Tensor) -> Tensor:
        """Return the prior's belief about latents `[B, Z]` after memories `[B, D]`.

        Where it draws in blocks this is the belief about each, once the blocks before have come out as they did: then
        the divergences of all groups add up to an estimate of the whole one, without bias.
        """
        if self.config.prior_draws == 1:
            return self.prior(deter)
        return self.coupling(*self._prior_parts(deter), stoch)

    def _prior_parts(self, deter: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prior's output `[B, Z]` and what its last layer reads."""
        *hidden, last = self.prior
        for layer in hidden:
            deter = layer(deter)
        return last(deter), deter

    def _groups(self, belief: Tensor) -> Tensor:
        """Return logits `[B, G, K]`; the classes are the slow axis in memory, over which torch reduces fast."""
        return belief.unflatten(1, (self.config.classes, -1)).transpose(1, 2)

    def _log_probs(self, belief: Tensor) -> Tensor:
        """Return log-probabilities `[B, G, K]`, some of them spread evenly."""
        return log_probs(self._groups(belief).transpose(1, 2), self.config.unimix, 1).transpose(1, 2)

    def _normal(self, belief: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = belief.chunk(2, 1)
        return mean, nn.functional.softplus(std) + _MIN_STD

    def _ending(self, full: Tensor) -> Tensor:
        """Return logits `[B]` of the end of the episode, given memories and latents `[B, D + Z]`."""
        return self.ending(full if self.config.ending == "state" else full[:, : self.config.deter_dim])[:, 0]

    def _reward(self, out: Tensor) -> Tensor:
        """Return `[B]` the reward that the head's output `[B, ...]` means, env units."""
        scaled = two_hot_mean(out) if self.config.reward == "two_hot" else out[:, 0]
        return scaled / self.config.reward_scale

    def _reward_loss(self, out: Tensor, reward: Tensor) -> Tensor:
        scaled = self.config.reward_scale * reward
        return two_hot_loss(out, scaled) if self.config.reward == "two_hot" else (out[:, 0] - scaled).square()


def _check(config: Config) -> None:
    options: dict[str, Iterable[str | None]] = {
        "latent": LATENTS, "reward": REWARDS, "ending": ENDINGS, "features": FEATURES, "activation": ACTIVATIONS,
        "norm": NORMS, "conv_norm": NORMS, "conv_activation": (None, *ACTIVATIONS), "gates_norm": (None, *NORMS),
    }  # fmt: skip
    for name, known in options.items():
        if getattr(config, name) not in known:
            raise InvalidArgument(
                f"{name} is {getattr(config, name)!r}; expected one of {', '.join(map(repr, known))}."
            )
    if config.blocks and config.deter_dim % config.blocks:
        raise InvalidArgument(f"deter_dim is {config.deter_dim}; expected a multiple of the {config.blocks} blocks.")
    if config.prior_draws != 1 and (config.prior_draws < 1 or config.groups % config.prior_draws):
        raise InvalidArgument(f"prior_draws is {config.prior_draws}; expected a divisor of the {config.groups} groups.")
    if config.prior_draws != 1 and config.latent == "gaussian":
        raise InvalidArgument("prior_draws is for categorical latents; a Gaussian one is drawn at once.")
    if config.reward_members < 1:
        raise InvalidArgument(f"reward_members is {config.reward_members}; expected at least 1 head.")
    if not 0 < config.reward_scale < math.inf:
        raise InvalidArgument(f"reward_scale is {config.reward_scale}; expected a finite number above 0.")
    for name, even in (("unimix", config.unimix), ("dream_unimix", config.dream_unimix)):
        if even is not None and not 0 <= even < 1:
            raise InvalidArgument(f"{name} is {even}; expected a share in [0, 1).")
