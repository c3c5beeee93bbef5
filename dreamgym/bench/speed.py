"""Steps a second of everything between a bare matrix product and a training library, measured in turns."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dreamgym.bench.ensemble import one_by_one
from dreamgym.core.codec import action_dim, encode_action
from dreamgym.core.model import WorldModel
from dreamgym.core.spaces import is_image
from dreamgym.core.starts import StartBank
from dreamgym.core.threads import use_threads
from dreamgym.core.tree import tree_map
from dreamgym.envs.simulator import Simulator
from dreamgym.envs.twin import make_real
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, MissingExtra
from dreamgym.hub import LoadedDream, load

Calls = dict[str, Callable[[], object]]

LANES = (1, 64, 256, 1024, 4096)
UNTRAINED = "untrained"
ROUNDS = 7
PIXEL_LANES = 256
"""More lanes of pictures gain nothing: a picture costs fifty steps, whatever their number."""


def bench(
    dream: str | Path | LoadedDream = UNTRAINED,
    variant: str | None = None,
    lanes: Sequence[int] = LANES,
    seconds: float = 0.5,
    device: str = "cpu",
    precision: str = "fp32",
) -> dict[str, Any]:
    """Return steps a second of every layer, for each number of lanes, measured in turns in this process.

    Args:
        dream: what to step; "untrained" is a model of the 2018 CarRacing sizes that never ends an episode.
        variant: of a registered dream.
        lanes: numbers of lanes.
        seconds: how long each figure is measured. On the CPU that is the time of one thread, so that other programs
            on the same machine count little.
        device: where the dream is computed.
        precision: "fp32", or a reduced one whose step is measured beside.

    Raises:
        InvalidArgument: if there is no lane or no time to measure.
    """
    if not lanes or min(lanes) < 1:
        raise InvalidArgument(f"lanes is {tuple(lanes)}; expected numbers of at least 1.")
    if not seconds > 0:
        raise InvalidArgument(f"seconds is {seconds}; expected more than 0.")
    loaded = open_benched(dream, variant, device)
    with ExitStack() as stack, torch.no_grad(), use_threads():
        real = real_step(loaded, stack)
        rows = [_row(loaded, count, seconds, device, precision, real) for count in lanes]
    return {
        "dream": loaded.name,
        "family": type(loaded.model).__name__,
        "real": loaded.card.get("real"),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "torch": torch.__version__,
        "threads": 1,
        "rows": rows,
    }


def open_benched(dream: str | Path | LoadedDream, variant: str | None = None, device: str = "cpu") -> LoadedDream:
    """Return the dream to be measured."""
    if isinstance(dream, LoadedDream):
        return dream.to(device)
    return untrained().to(device) if dream == UNTRAINED else load(dream, variant, device)


def untrained() -> LoadedDream:
    """Return a dream of the 2018 CarRacing sizes that has learned nothing, not even to end."""
    from dreamgym.models.vae_mdn_rnn import VaeMdnRnn, car_racing

    low, high = np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = VaeMdnRnn(car_racing(), spaces.Box(0, 255, (64, 64, 3), np.uint8), spaces.Box(low, high)).eval()
        model.heads.bias[-1] = -20
        states = tree_map(lambda x: torch.randn(x.shape).tanh().half(), model.initial(2000))
    card = {"id": UNTRAINED, "real": "CarRacing64-v0", "max_episode_steps": 250}
    return LoadedDream(model, StartBank(states, torch.ones(2000, dtype=torch.bool)), card)


def step_products(model: WorldModel[Any]) -> list[tuple[int, int]]:
    """Return `(k, n)` of the products `[B, k] @ [k, n]` of a step, whatever asks for them, in the order of use."""
    plain = plain_copy(model)
    state = plain.initial(2)
    with torch.enable_grad(), _Products() as products:
        plain.step(state, torch.zeros(2, action_dim(model.action_space), device=_device(model)))
    return products.shapes


class _Products(TorchDispatchMode):
    """Notes the matrix products that torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.shapes.append(tuple(args[-1].shape))
        elif func in (torch.ops.aten.bmm.default, torch.ops.aten.baddbmm.default):  # block-diagonal weights
            self.shapes.extend([tuple(args[-1].shape[1:])] * len(args[-1]))
        return func(*args, **(kwargs or {}))


def measure(
    calls: Mapping[str, Callable[[], object]], seconds: float, device: str = "cpu", rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the median time of one call of each, in seconds, measured in turns, so that noise hits all alike."""
    clock = clock_of(device)
    repeats = dict.fromkeys(calls, 1)
    for name, call in calls.items():
        call()  # caches fill
        while (taken := _time(call, repeats[name], clock)) < seconds / rounds / 4:
            repeats[name] *= 2
        repeats[name] = max(1, round(repeats[name] * seconds / rounds / taken))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_time(call, repeats[name], clock) / repeats[name])
    return {name: statistics.median(taken) for name, taken in times.items()}


def _time(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    since = clock()
    for _ in range(repeats):
        call()
    return clock() - since


def clock_of(device: str) -> Callable[[], float]:
    """Return what tells the time in seconds: this thread's own on the CPU, the wall's when a GPU has nothing to do."""
    return _gpu_clock if device.startswith("cuda") else time.thread_time


def _gpu_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _row(
    dream: LoadedDream, lanes: int, seconds: float, device: str, precision: str, real: Callable[[], object] | None
) -> dict[str, Any]:
    """Return the figures of one number of lanes: steps a second of all lanes together, and what a reset costs."""
    calls = _calls(dream, lanes, device, precision)
    if device.startswith("cuda"):
        from dreamgym.bench.gpu import gpu_calls

        calls |= gpu_calls(dream, lanes, device)
    taken = measure(calls | ({"real": real} if real else {}), seconds, device)
    rates = {name: (1 if name == "real" else lanes) / time for name, time in taken.items() if name != "reset"}
    return {
        "lanes": lanes,
        "of_limit": {name: rate / rates["limit"] for name, rate in rates.items()},
        "of_real": {name: rate / rates["real"] for name, rate in rates.items()} if real else {},
        "reset_in_steps": taken["reset"] / taken["step"],
        "steps_per_second": rates,
    }


def _calls(dream: LoadedDream, lanes: int, device: str, precision: str) -> Calls:
    """Return what is measured; each call steps every lane once, but for "reset", which begins all of them anew."""
    from dreamgym.bridges.sb3 import DreamVecEnv

    model: Any = dream.model
    action = sample_actions(model, lanes)
    encoded = encode_action(model.action_space, action).to(device)
    noise = torch.randn(lanes, model.noise_dim, device=device)
    factors = [
        (torch.randn(lanes, k, device=device), torch.randn(k, n, device=device)) for k, n in step_products(model)
    ]
    plain, simulator, seed = plain_copy(model), Simulator(model, dream.starts), torch.arange(lanes, device=device)
    start = simulator.begin(seed)
    calls: Calls = {
        "limit": lambda: [torch.mm(x, weight) for x, weight in factors],
        # from the same states each time: lanes that nobody resets leave what a net was trained on, and numbers that
        # are all but 0, which come of that, are computed at a tenth of the speed
        "eager": torch.enable_grad()(lambda: plain.step(start.state, encoded, noise)),
        "step": lambda: model.step(start.state, encoded, noise),
        "simulator": _again(lambda lanes: simulator.step(lanes, encoded)[0], start),
        "reset": lambda: simulator.reset(start, torch.ones_like(start.done)),
    }
    if precision != "fp32":
        from dreamgym.models.packed import set_precision

        reduced = copy.deepcopy(model)
        set_precision(reduced, precision)
        calls[precision] = lambda: reduced.step(start.state, encoded, noise)
    if (quiet := model.without_info()) is not model:
        calls["quiet"] = lambda: quiet.step(start.state, encoded, noise)
    if (looped := one_by_one(model)) is not None:
        calls["loop"] = lambda: looped.step(start.state, encoded, noise)
    options: dict[str, Any] = {"device": device, "observation": "features"}
    for output, given in (("torch", torch.as_tensor(action, device=device)), ("numpy", action)):
        calls[output] = _stepping(DreamVectorEnv(dream, lanes, output=output, **options), given)
    bridge = DreamVecEnv(dream, lanes, device=device)
    bridge.reset()
    calls["sb3"] = lambda: bridge.step(action)
    if is_image(model.observation_space) and lanes <= PIXEL_LANES:
        calls["pixels"] = _stepping(DreamVectorEnv(dream, lanes, device=device), action)
    return calls


def sample_actions(model: WorldModel[Any], lanes: int) -> np.ndarray:
    """Return random actions `[B, ...]` in env units."""
    space = copy.deepcopy(model.action_space)
    space.seed(0)
    return np.stack([space.sample() for _ in range(lanes)])


def real_step(dream: LoadedDream, stack: ExitStack) -> Callable[[], object] | None:
    """Return a call that steps the real twin once at random; None where there is none, or none on this machine."""
    if "real" not in dream.card:
        return None
    try:
        env = stack.enter_context(make_real(dream))
    except (MissingExtra, gym.error.Error):
        return None
    env.reset(seed=0)
    env.action_space.seed(0)

    def step() -> None:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()

    return step


def _stepping(env: DreamVectorEnv, action: Any) -> Callable[[], object]:
    env.reset(seed=0)
    return lambda: env.step(action)


def _again(step: Callable[[Any], Any], state: Any) -> Callable[[], None]:
    """Return a call that puts the state of the last one through `step`."""

    def call() -> None:
        nonlocal state
        state = step(state)

    return call


def plain_copy(model: Any) -> Any:
    """Return a copy whose layers are plain torch as long as gradients are enabled, though none are recorded."""
    return copy.deepcopy(model).requires_grad_(False) if isinstance(model, nn.Module) else model


def _device(model: Any) -> Any:
    return next(model.parameters()).device if isinstance(model, nn.Module) else "cpu"
