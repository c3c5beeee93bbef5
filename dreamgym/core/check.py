"""A checker for people who bring their own world model: it says what will go wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import action_dim, decode_action, encode_action, encode_obs
from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.tree import clone, gather, named_leaves
from dreamgym.errors import InvalidModel, NotDecodable

LANES = 3


def check_world_model(model: WorldModel[Any], seed: int = 0) -> None:
    """Return if `model` keeps the contract of `WorldModel`; an untrained one must keep it too.

    It is stepped a few times with three lanes: shapes, units, purity, determinism under given noise, the same dream
    without `info`, independence of lanes, fresh memories at `is_first`, probabilities, a temperature for each lane, and
    gradients if it says that it is differentiable.

    Args:
        model: the world model, on the CPU.
        seed: of the noise and actions.

    Raises:
        InvalidModel: at the first fault; the message says what was found, what was expected and how to mend it.
    """
    _expect(
        isinstance(model, WorldModel), f"{type(model).__name__} is no WorldModel; inherit from dreamgym.WorldModel."
    )
    for name in ("observation_space", "action_space", "noise_dim", "feature_dim"):
        _expect(hasattr(model, name), f"{type(model).__name__} has no {name}; set it in __init__.")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        state, action, noise = _observed(model, generator)
        _check_step(model, state, action, noise)
        _check_lanes(model, state, action, noise)
        _check_outside(model, state)
    if model.differentiable:
        _check_gradients(model, state, action, noise)


def _expect(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidModel(message)


def _observed(model: WorldModel[Any], generator: torch.Generator) -> tuple[Any, Tensor, Tensor]:
    """Return a state after two real observations, an action and noise, and check `initial` and `observe` on the way."""
    empty = model.initial(LANES)
    for name, leaf in named_leaves(empty).items():
        _expect(len(leaf) == LANES, f"initial({LANES}).{name} has {len(leaf)} rows; put the lane axis first.")
    model.observation_space.seed(int(torch.randint(2**31, (1,), generator=generator)))
    model.action_space.seed(int(torch.randint(2**31, (1,), generator=generator)))
    obs = [encode_obs(model.observation_space, _stack([model.observation_space.sample() for _ in range(LANES)]))
           for _ in range(2)]  # fmt: skip
    action = encode_action(model.action_space, _stack([model.action_space.sample() for _ in range(LANES)]))
    noise = torch.randn(LANES, model.noise_dim, generator=generator)
    first, later = torch.ones(LANES, dtype=torch.bool), torch.zeros(LANES, dtype=torch.bool)
    before = model.observe(empty, torch.zeros_like(action), obs[0], first, noise)
    _pure(lambda: model.observe(before, action, obs[1], later, noise), before, "observe")
    state = model.observe(before, action, obs[1], later, noise)
    again = model.observe(state, action, obs[0], first, noise)
    _equal(again, before, "observe with is_first=True keeps something of the old episode; start from initial() there.")
    mixed = torch.tensor([True, False, True])
    part = model.observe(before, action, obs[1], mixed, noise)
    _equal(gather(part, torch.tensor([1])), gather(state, torch.tensor([1])),
           "is_first in one lane changed another lane; select with torch.where per lane.")  # fmt: skip
    return state, action, noise


def _check_step(model: WorldModel[Any], state: Any, action: Tensor, noise: Tensor) -> None:
    out = model.step(state, action, noise)
    _expect(isinstance(out, Transition), f"step returned a {type(out).__name__}; expected a Transition.")
    for name in ("reward", "termination"):
        value = getattr(out, name)
        _expect(isinstance(value, Tensor) and value.shape == (LANES,) and value.dtype == torch.float32,
                f"{name} is {_shape(value)}; expected float32 ({LANES},).")  # fmt: skip
        _expect(bool(value.isfinite().all()), f"{name} holds a value that is not finite.")
    inside = bool(((out.termination >= 0) & (out.termination <= 1)).all())
    _expect(inside, f"termination is {out.termination.tolist()}; expected probabilities, apply a sigmoid to logits.")
    _expect(named_leaves(out.state).keys() == named_leaves(state).keys(), "step returned a state of another kind.")
    for (name, a), b in zip(named_leaves(out.state).items(), named_leaves(state).values(), strict=True):
        same = a.shape == b.shape and a.dtype == b.dtype
        _expect(same, f"step changed state.{name} from {_shape(b)} to {_shape(a)}.")
        finite = not isinstance(a, Tensor) or bool(a.isfinite().all())
        _expect(finite, f"step led to a state whose {name} is not finite.")
    cut = out.truncated
    _expect(cut is None or (isinstance(cut, Tensor) and cut.shape == (LANES,) and cut.dtype == torch.bool),
            f"truncated is {_shape(cut)}; expected bool ({LANES},), or None.")  # fmt: skip
    for name, value in out.info.items():
        _expect(len(value) == LANES, f"info[{name!r}] is {_shape(value)}; put the lane axis first.")
    _pure(lambda: model.step(state, action, noise), state, "step")
    again = model.step(state, action, noise)
    for name in ("state", "reward", "termination"):
        message = f"step with the same noise gave another {name}; use `noise` and no random numbers of its own."
        _equal(getattr(again, name), getattr(out, name), message)
    before = clone(again.state)
    again.reward.add_(1)
    _equal(again.state, before, "reward shares memory with the state; return a copy.")
    quiet = model.without_info().step(state, action, noise)
    for name in ("state", "reward", "termination", "truncated"):
        message = f"without_info() dreams another {name}; leave out `info` alone, or return the model itself."
        _equal(getattr(quiet, name), getattr(model.step(state, action, noise), name), message)
    model.step(state, action)  # noise is optional


def _check_lanes(model: WorldModel[Any], state: Any, action: Tensor, noise: Tensor) -> None:
    together = model.step(state, action, noise)
    for lane in range(LANES):
        row = torch.tensor([lane])
        alone = model.step(gather(state, row), action[row], noise[row])
        for name in ("state", "reward", "termination"):
            given = f"lane {lane} stepped alone gives another {name} than among {LANES}"
            _equal(getattr(alone, name), gather(getattr(together, name), row),
                   f"{given}; normalise over features, not lanes.")  # fmt: skip
    _check_temperatures(model, state, action, noise)


def _check_temperatures(model: WorldModel[Any], state: Any, action: Tensor, noise: Tensor) -> None:
    advice = "use the functions of dreamgym.core.sampling, or multiply [B, Z] by temperature**0.5."
    heat = torch.tensor([0.5, 1.0, 2.0])
    try:
        together = model.step(state, action, noise, heat[:, None])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidModel(f"step takes no temperature [B, 1], one for each lane: {error}; {advice}") from error
    for lane in range(LANES):
        row = torch.tensor([lane])
        alone = model.step(gather(state, row), action[row], noise[row], float(heat[lane]))
        for name in ("state", "reward", "termination"):
            given = f"lane {lane} at a temperature of its own in [B, 1] gives another {name} than at that number alone"
            _equal(getattr(alone, name), gather(getattr(together, name), row), f"{given}; {advice}")


def _check_outside(model: WorldModel[Any], state: Any) -> None:
    features = model.features(state)
    _expect(features.shape == (LANES, model.feature_dim) and features.dtype == torch.float32,
            f"features is {_shape(features)}; expected float32 ({LANES}, {model.feature_dim}).")  # fmt: skip
    before = clone(state)
    features.add_(1)
    _equal(state, before, "features shares memory with the state; return a copy.")
    try:
        decoded = model.decode(state)
    except NotDecodable:
        return
    sample = encode_obs(model.observation_space, _stack([model.observation_space.sample() for _ in range(LANES)]))
    for name, leaf in named_leaves(sample).items():
        ours = named_leaves(decoded).get(name)
        _expect(isinstance(ours, Tensor) and ours.shape == leaf.shape and ours.dtype == leaf.dtype,
                f"decode gave {_shape(ours)} for {name or 'the observation'}; expected {_shape(leaf)}.")  # fmt: skip


def _check_gradients(model: WorldModel[Any], state: Any, action: Tensor, noise: Tensor) -> None:
    wanted = action.clone().requires_grad_(True)
    _expect(wanted.shape[1] == action_dim(model.action_space), "encode_action gave another width.")
    decode_action(model.action_space, action)
    out = model.step(state, wanted, noise)
    total = out.reward.sum() + model.features(out.state).sum()
    reaches = total.requires_grad and torch.autograd.grad(total, wanted, allow_unused=True)[0] is not None
    _expect(reaches, "no gradient reaches the action; set `differentiable = False`, or remove no_grad and argmax.")


def _pure(call: Callable[[], Any], state: Any, name: str) -> None:
    before = clone(state)
    call()
    _equal(state, before, f"{name} edited the state that it was given; return new tensors instead.")


def _equal(a: Any, b: Any, message: str) -> None:
    for x, y in zip(named_leaves(a).values(), named_leaves(b).values(), strict=True):
        same = torch.allclose(x, y, rtol=1e-4, atol=1e-5) if isinstance(x, Tensor) else bool((x == y).all())
        _expect(same, message)


def _stack(samples: list[Any]) -> Any:
    if isinstance(samples[0], dict):
        return {key: _stack([sample[key] for sample in samples]) for key in samples[0]}
    return torch.as_tensor(np.stack(samples))


def _shape(value: Any) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
