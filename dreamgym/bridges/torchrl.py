"""TorchRL: a dream as its `EnvBase`, and its actors as dreamgym's policies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn

from dreamgym.bridges.export import export_perceptron, first_outputs
from dreamgym.bridges.open import open_envs, step_envs
from dreamgym.core.policy import Policy
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, MissingExtra

try:
    from tensordict import TensorDict, TensorDictBase
    from tensordict.nn import AddStateIndependentNormalScale, NormalParamExtractor, ProbabilisticTensorDictModule
    from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
    from torchrl.envs import EnvBase
    from torchrl.modules import OneHotCategorical, QValueModule, TanhNormal
except ImportError as error:
    raise MissingExtra("the bridge to TorchRL", "torchrl", "torchrl") from error


class DreamTorchRLEnv(EnvBase):  # type: ignore[misc]
    """Many lanes of a dream as TorchRL's `EnvBase` of batch size `[num_envs]`: collectors, rollouts and losses take it.

    TorchRL resets the lanes that ended, and only those, by its `"_reset"` mask: `("next", "observation")` is always
    what the step led to. Observations lie under `"observation"`, those of `observation="both"` under `"pixels"` and
    `"features"`; a Discrete action is an integer (`Categorical`, no one-hot).

    Args:
        model: what `DreamVectorEnv` takes, or a `DreamVectorEnv` in mode "Disabled" with torch output.
        num_envs: the number of lanes.
        **kwargs: options of `DreamVectorEnv`; `observation` is "features" here unless you say otherwise.

    Raises:
        InvalidArgument: if another autoreset mode or numpy output is asked for, or options are given beside an env.
        UnsupportedSpace: if actions are integers that do not start at 0.
    """

    def __init__(self, model: Model | DreamVectorEnv, num_envs: int | None = None, **kwargs: Any) -> None:
        envs = open_envs(model, num_envs, AutoresetMode.DISABLED, "TorchRL", **kwargs)
        super().__init__(device=envs.device, batch_size=(envs.num_envs,))
        self.envs = envs
        self._seed: int | None = None
        space = envs.single_observation_space
        shown = space.spaces if isinstance(space, spaces.Dict) else {"observation": space}
        self._single = not isinstance(space, spaces.Dict)
        self.observation_spec = self._composite({name: self._spec(part) for name, part in shown.items()})
        self.action_spec = self._spec(envs.single_action_space)
        self.reward_spec = Unbounded((envs.num_envs, 1), device=self.device)
        flag = Categorical(2, (envs.num_envs, 1), dtype=torch.bool, device=self.device)
        self.done_spec = self._composite({name: flag.clone() for name in ("done", "terminated", "truncated")})

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the window, if there is one."""
        self.envs.close()
        super().close(raise_if_closed=raise_if_closed)

    @torch.no_grad()
    def _reset(self, tensordict: TensorDictBase | None, **kwargs: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is None or self._seed is not None:
            options = None if mask is None else {"reset_mask": mask.reshape(-1)}
            obs, _ = self.envs.reset(seed=self._seed, options=options)
            self._seed = None
        else:
            obs = self.envs.set_state(self.envs.simulator.reset(self.envs.lanes, mask.reshape(-1)))
        ended = torch.zeros_like(self.envs.lanes.done)
        return self._pack(obs, ended, ended.clone(), self.envs.lanes.done.clone())

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        active = tensordict.get("_step", None)  # where a rollout goes on until the last lane has ended
        active = None if active is None else active.reshape(-1)
        obs, outcome = step_envs(self.envs, tensordict.get("action"), active)
        done = outcome.terminated | outcome.truncated
        after = self._pack(obs, outcome.terminated, outcome.truncated, done, outcome.reward)
        return after if active is None else after.where(active, self._skip_tensordict(tensordict))

    def _set_seed(self, seed: int | None) -> None:
        self._seed = seed  # of the next reset: lane i is seeded with seed + i

    def _pack(
        self, obs: Any, terminated: Tensor, truncated: Tensor, done: Tensor, reward: Tensor | None = None
    ) -> TensorDict:
        parts = {"observation": obs} if self._single else dict(obs)
        parts |= {"terminated": terminated[:, None], "truncated": truncated[:, None], "done": done[:, None]}
        if reward is not None:
            parts["reward"] = reward[:, None]
        return TensorDict(parts, self.batch_size, device=self.device)

    def _composite(self, parts: dict[str, TensorSpec]) -> Composite:
        return Composite(parts, shape=self.batch_size, device=self.device)

    def _spec(self, space: Space[Any]) -> TensorSpec:
        """Return the spec of all lanes of a Box or a Discrete."""
        B = self.envs.num_envs
        if isinstance(space, spaces.Discrete):
            return Categorical(int(space.n), (B,), device=self.device)
        assert isinstance(space, spaces.Box)
        shape, dtype = (B, *space.shape), torch.from_numpy(np.empty(0, space.dtype)).dtype
        if not space.is_bounded():
            return Unbounded(shape, dtype=dtype, device=self.device)
        low, high = (torch.as_tensor(side, device=self.device).expand(shape) for side in (space.low, space.high))
        return Bounded(low, high, shape, dtype=dtype, device=self.device)


def export_policy(actor: nn.Module, dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a TorchRL actor does deterministically, as a dreamgym policy.

    Args:
        actor: a `ProbabilisticActor` of an `MLP` with `TanhNormal` over the action space's bounds or with
            `Categorical`, or a `QValueActor` of an `MLP`; on features that no transform changed.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the actor is another.
        PolicyMismatch: if it was trained on something else than this dream's features, or for other actions.
    """
    loaded = open_dream(dream, None, (), "cpu")
    modules = list(actor.modules())
    heads = [m for m in modules if isinstance(m, (ProbabilisticTensorDictModule, QValueModule))]
    layers = list(_layers(actor))
    if len(heads) != 1:
        raise InvalidArgument(
            f"the actor has {len(heads)} heads; expected one, of a ProbabilisticActor or QValueActor."
        )
    head = heads[0]
    if isinstance(head, QValueModule):
        return export_perceptron(layers, loaded, path=path)
    kind, options = head.distribution_class, head.distribution_kwargs
    if kind in (torch.distributions.Categorical, OneHotCategorical):
        return export_perceptron(layers, loaded, path=path)
    if kind is not TanhNormal or options.get("tanh_loc"):
        raise InvalidArgument(
            f"the actor draws from {kind.__name__} with {sorted(options)}; expected TanhNormal without tanh_loc, "
            "Categorical or OneHotCategorical."
        )
    space = loaded.model.action_space
    for name, default in (("low", -1.0), ("high", 1.0)):
        given, expected = np.asarray(torch.as_tensor(options.get(name, default)).cpu()), getattr(space, name, None)
        if expected is None or not np.allclose(np.broadcast_to(given, expected.shape[-1:]), expected):
            raise InvalidArgument(f"{name} of TanhNormal is {given.tolist()}; {loaded.name} acts in {space}.")
    if any(isinstance(m, NormalParamExtractor) for m in modules):
        layers[-1] = first_outputs(layers[-1], int(np.prod(space.shape or ())))
    return export_perceptron(layers, loaded, output="tanh", path=path)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the innermost modules but for what makes a distribution of their outputs."""
    made = (AddStateIndependentNormalScale, NormalParamExtractor, ProbabilisticTensorDictModule, QValueModule)
    if not isinstance(module, made):
        children = list(module.children())
        yield from (layer for child in children for layer in _layers(child)) if children else [module]
