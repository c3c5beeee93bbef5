"""What Gymnasium's own tests ask of a vector env, asked of any env that makes a dream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import Tensor

VectorEnvMaker = Callable[..., "VectorEnv[Any, Any, Any]"]
"""Takes `num_envs`, `autoreset_mode` and `output`, as `DreamVectorEnv` and `gym.make_vec` of a dream do."""
LANES = 4


def check_vector_env(make: VectorEnvMaker, single: Callable[[], gym.Env[Any, Any]] | None = None) -> None:
    """Return if a vector env does everything that the checks of this module ask.

    Args:
        make: makes one, e.g. `functools.partial(gym.make_vec, "DreamDodge-v0", max_episode_steps=20)`. Episodes should
            be short, or no ends are seen; the checks step a few hundred times.
        single: makes the single env that a lane should equal; None leaves that out.

    Raises:
        AssertionError: if it does not; the message says what was found and what was expected.

    Source: after what Gymnasium 1.4 asks of its own vector envs, in its tests of autoreset modes, partial resets,
        seeding and episode statistics.
    """
    check_spaces(make)
    check_seeding(make)
    check_partial_reset(make)
    check_number_of_actions(make)
    check_freshness(make)
    check_torch_equals_numpy(make)
    for mode in AutoresetMode:
        check_autoreset(make, mode)
        if mode is not AutoresetMode.SAME_STEP or _version(gym.__version__) >= (1, 4):  # wrong before, in Gymnasium
            check_statistics(make, mode)
        if single is not None and mode is not AutoresetMode.DISABLED:
            check_against_sync(make, single, mode)


def check_spaces(make: VectorEnvMaker) -> None:
    """Return if the spaces are batches of a lane's and hold what comes out, in Gymnasium's dtypes."""
    env = make(num_envs=LANES)
    assert env.num_envs == LANES, f"num_envs is {env.num_envs}; expected {LANES}."
    assert isinstance(env.metadata.get("autoreset_mode"), AutoresetMode), "metadata['autoreset_mode'] is no mode."
    for name in ("observation_space", "action_space"):
        batch, expected = getattr(env, name), batch_space(getattr(env, f"single_{name}"), LANES)
        assert batch == expected, f"{name} is {batch}; expected {expected}."
    obs, info = env.reset(seed=0)
    assert isinstance(info, dict), f"reset gave {type(info).__name__} as info; expected a dict."
    assert obs in env.observation_space, "reset gave an observation that observation_space does not hold."
    obs, reward, terminated, truncated, info = env.step(_actions(env, 0))
    assert obs in env.observation_space, "step gave an observation that observation_space does not hold."
    for name, array, dtype in (("rewards", reward, np.float64), ("terminations", terminated, np.bool_),
                               ("truncations", truncated, np.bool_)):  # fmt: skip
        assert array.dtype == dtype, f"{name} are {array.dtype}; expected {np.dtype(dtype)}."
        assert array.shape == (LANES,), f"{name} have shape {array.shape}; expected {(LANES,)}."
    env.close()


def check_seeding(make: VectorEnvMaker) -> None:
    """Return if a seed names a trajectory, lane i is seeded with `seed + i`, and no seed is no seed."""
    once, again = list(_trajectory(make, 0)), list(_trajectory(make, 0))
    _equal("two envs of seed 0", once, again)
    env = make(num_envs=LANES)
    each: Any = [1, 2, 3, 4]  # Gymnasium's vector envs take lists, whatever the type says
    later = env.reset(seed=each)[0]
    _equal("lanes of seeds [1, 2, 3, 4] and of seed 1", later, make(num_envs=LANES).reset(seed=1)[0])
    unseeded = [make(num_envs=LANES).reset()[0] for _ in range(2)]
    assert not _same(*unseeded), "two unseeded envs begin alike."
    env.reset(seed=0)
    first, second = env.reset()[0], env.reset()[0]
    assert not _same(first, second), "resets without a seed begin all alike."


def check_partial_reset(make: VectorEnvMaker) -> None:
    """Return if `reset_mask` restarts the lanes that it names and no others, and bad masks are refused."""
    env = make(num_envs=LANES, autoreset_mode=AutoresetMode.DISABLED.value)
    before, _ = env.reset(seed=0)
    for step in range(2):
        before, _, terminated, truncated, _ = env.step(_actions(env, step))
        if (terminated | truncated).any():
            break
    options = {"reset_mask": np.array([True, False, True, False])}
    obs, _ = env.reset(options=options)
    assert "reset_mask" in options, "reset took reset_mask out of the caller's options, which wrappers read too."
    _equal("lanes out of the mask, before and after a reset", _lane(before, [1, 3]), _lane(obs, [1, 3]))
    assert not _same(_lane(before, [0, 2]), _lane(obs, [0, 2])), "lanes of the mask were not reset."
    wrong: tuple[tuple[Any, type[Exception]], ...] = (
        (np.ones(LANES + 1, bool), ValueError), (np.zeros(LANES, bool), ValueError), (np.ones(LANES), TypeError),
        ([True] * LANES, TypeError),
    )  # fmt: skip
    for mask, error in wrong:
        _refuses(partial(env.reset, options={"reset_mask": mask}), error, f"the mask {mask!r}")
    env.close()


def check_number_of_actions(make: VectorEnvMaker) -> None:
    """Return if a batch of actions of another size is refused."""
    env = make(num_envs=LANES)
    env.reset(seed=0)
    for count in (LANES - 1, LANES + 1):
        few = batch_space(env.single_action_space, count).sample()
        _refuses(partial(env.step, few), ValueError, f"{count} actions for {LANES} lanes")
    env.close()


def check_freshness(make: VectorEnvMaker) -> None:
    """Return if what was returned stays as it was, and may be written into, while the env goes on."""
    spoilt, clean = make(num_envs=LANES), make(num_envs=LANES)
    kept: list[tuple[Any, Any]] = []
    for step in range(-1, 12):
        ours, theirs = (env.reset(seed=0) if step < 0 else env.step(_actions(clean, step)) for env in (spoilt, clean))
        _equal("an env whose returned arrays were overwritten, and another", ours, theirs)
        kept.append((theirs, _copy(theirs)))
        for array in _arrays(ours):
            if array.dtype != object:
                array[...] = 1
    for returned, copied in kept:
        _equal("what was returned, and a copy made at once", returned, copied)


def check_torch_equals_numpy(make: VectorEnvMaker) -> None:
    """Return if `output="torch"` gives tensors of the same numbers, also where an episode ends."""
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        arrays, tensors = (make(num_envs=LANES, autoreset_mode=mode.value, output=o) for o in ("numpy", "torch"))
        _equal("numpy and torch", arrays.reset(seed=0)[0], _numpy(tensors.reset(seed=0)[0]))
        for step in range(60):
            action = _actions(arrays, step)
            ours, theirs = arrays.step(action), tensors.step(action)
            assert all(isinstance(x, Tensor) for x in _arrays(theirs[:4])), "output='torch' gave what is no tensor."
            _equal("numpy and torch", ours[:4], _numpy(theirs[:4]))
            if "_final_obs" in ours[4]:
                for lane in np.flatnonzero(ours[4]["_final_obs"]):
                    assert theirs[4]["_final_obs"][lane], f"torch does not say that lane {lane} ended."
                    last = _lane(_numpy(theirs[4]["final_obs"]), lane)
                    _equal(f"the last observations of lane {lane}", ours[4]["final_obs"][lane], last)


def check_autoreset(make: VectorEnvMaker, mode: AutoresetMode) -> None:
    """Return if lanes that end are reset as the mode says, and some do end.

    Raises:
        AssertionError: also if no episode ends within 400 steps.
    """
    env = make(num_envs=LANES, autoreset_mode=mode.value)
    assert env.metadata["autoreset_mode"] is mode, f"asked for {mode}, metadata says {env.metadata['autoreset_mode']}."
    obs, _ = env.reset(seed=0)
    ended, ends = np.zeros(LANES, bool), 0
    for step in range(400):
        if mode is AutoresetMode.DISABLED and ended.any():
            kept = _lane(obs, ~ended)
            obs, _ = env.reset(options={"reset_mask": ended})
            _equal("lanes that go on, before and after the reset of others", kept, _lane(obs, ~ended))
        before = obs
        obs, reward, terminated, truncated, info = env.step(_actions(env, step))
        done = terminated | truncated
        if mode is AutoresetMode.NEXT_STEP:
            for name, array in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
                assert not array[ended].any(), f"the step that resets a lane gave it the {name} {array[ended]}."
            changed = [lane for lane in np.flatnonzero(ended) if not _same(_lane(before, lane), _lane(obs, lane))]
            assert len(changed) == ended.sum(), "the step after an end did not reset its lane."
        has_last = np.asarray(info.get("_final_obs", np.zeros(LANES, bool)))
        expected = done if mode is AutoresetMode.SAME_STEP else np.zeros(LANES, bool)
        assert (has_last == expected).all(), f"_final_obs is {has_last} where {expected} ended."
        for lane in np.flatnonzero(has_last):
            last = info["final_obs"][lane]
            assert last in env.single_observation_space, "final_obs is no observation."
            assert not _same(last, _lane(obs, lane)), f"lane {lane} ended and was not reset, or final_obs was."
        ended, ends = done, ends + done.sum()
        if ends >= 3 * LANES:
            break
    assert ends > 0, "no episode ended in 400 steps; make them shorter, e.g. with max_episode_steps=20."
    env.close()


def check_statistics(make: VectorEnvMaker, mode: AutoresetMode) -> None:
    """Return if Gymnasium's `RecordEpisodeStatistics` counts each episode once, with its return and length."""
    env = RecordEpisodeStatistics(make(num_envs=LANES, autoreset_mode=mode.value))
    env.reset(seed=0)
    total, length, asleep = np.zeros(LANES), np.zeros(LANES, int), np.zeros(LANES, bool)
    for step in range(120):
        _, reward, terminated, truncated, info = env.step(_actions(env, step))
        total, length = total + np.where(asleep, 0, reward), length + ~asleep
        done = terminated | truncated
        for lane in np.flatnonzero(done):
            said = info["episode"]["r"][lane], info["episode"]["l"][lane]
            assert np.allclose(said, (total[lane], length[lane]), rtol=1e-4), (
                f"the statistics say return and length {said}; they were {(total[lane], length[lane])}."
            )
        total[done], length[done] = 0, 0
        asleep = done & (mode is AutoresetMode.NEXT_STEP)
        if mode is AutoresetMode.DISABLED and done.any():
            env.reset(options={"reset_mask": done})


def check_against_sync(make: VectorEnvMaker, single: Callable[[], gym.Env[Any, Any]], mode: AutoresetMode) -> None:
    """Return if the lanes are what `SyncVectorEnv` makes of single envs, within rounding."""
    ours = make(num_envs=LANES, autoreset_mode=mode.value)
    sync: VectorEnv[Any, Any, Any] = SyncVectorEnv([single] * LANES, autoreset_mode=mode)
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        mine, theirs = getattr(ours, name), getattr(sync, name)
        assert mine == theirs, f"{name} is {mine}; that of the single envs is {theirs}."
    _equal("the first observations of lanes and of single envs", ours.reset(seed=0)[0], sync.reset(seed=0)[0])
    for step in range(60):
        mine, theirs = (env.step(_actions(ours, step)) for env in (ours, sync))
        _equal(f"lanes and single envs in step {step}", mine[:4], theirs[:4])


def _trajectory(make: VectorEnvMaker, seed: int) -> Iterator[Any]:
    env = make(num_envs=LANES)
    yield env.reset(seed=seed)[0]
    for step in range(30):
        yield env.step(_actions(env, step))[:4]


def _actions(env: VectorEnv[Any, Any, Any], step: int) -> Any:
    """Return the same actions for every env of the same spaces."""
    env.action_space.seed(step)
    return env.action_space.sample()


def _arrays(value: Any) -> list[Any]:
    """Return the arrays and tensors in what an env returned."""
    if isinstance(value, dict):
        return [array for key in sorted(value) for array in _arrays(value[key])]
    if isinstance(value, tuple | list):
        return [array for part in value for array in _arrays(part)]
    return [value] if isinstance(value, np.ndarray | np.generic | Tensor) else []


def _map(fn: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _map(fn, part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_map(fn, part) for part in value)
    return fn(value)


def _numpy(value: Any) -> Any:
    return _map(lambda x: x.numpy(force=True) if isinstance(x, Tensor) else x, value)


def _copy(value: Any) -> Any:
    return _map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, value)


def _lane(obs: Any, index: Any) -> Any:
    return _map(lambda x: x[index], obs)


def _same(one: Any, two: Any) -> bool:
    """Return if two values hold the same numbers, within the rounding of sums in another order."""
    ours, theirs = _arrays(one), _arrays(two)
    return len(ours) == len(theirs) and all(_close(a, b) for a, b in zip(ours, theirs, strict=True))


def _close(one: Any, two: Any) -> bool:
    if one.shape != two.shape:
        return False
    if one.dtype == object:
        return all(_same(a, b) for a, b in zip(one, two, strict=True))
    return np.allclose(one.astype(float), two.astype(float), atol=1.01 if one.dtype == np.uint8 else 1e-3, rtol=1e-3)


def _equal(what: str, one: Any, two: Any) -> None:
    assert _same(one, two), f"{what} differ."


def _refuses(call: Callable[[], object], error: type[Exception], what: str) -> None:
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what} raised {type(other).__name__}; expected {error.__name__}.") from other
    raise AssertionError(f"{what} was accepted; expected {error.__name__}.")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
