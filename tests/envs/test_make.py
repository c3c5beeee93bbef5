"""gym.make and gym.make_vec: ids, options, specs that survive JSON, and Gymnasium's wrappers around dreams."""

import subprocess
import sys
import textwrap

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from oracle import PICTURES, counting_dream

import dreamgym
from dreamgym import DreamEnv, DreamVectorEnv
from dreamgym.errors import InvalidArgument, InvalidModel, InvalidTemperature, UnknownName

FEATURES = {"observation": "features"}


def returns_and_lengths(env, steps=60):
    """Return what `RecordEpisodeStatistics` says of the episodes that end, and what they truly were."""
    env.reset(seed=1)
    said, true = [], []
    total, length, asleep = np.zeros(env.num_envs), np.zeros(env.num_envs, int), np.zeros(env.num_envs, bool)
    mode = env.metadata["autoreset_mode"]
    for _ in range(steps):
        _, reward, terminated, truncated, info = env.step(np.ones(env.num_envs, int))
        acted = ~asleep
        total, length = total + np.where(acted, reward, 0), length + acted
        done = terminated | truncated
        for lane in np.flatnonzero(done):
            assert info["_episode"][lane]
            said.append((info["episode"]["r"][lane], info["episode"]["l"][lane]))
            true.append((total[lane], length[lane]))
        total[done], length[done] = 0, 0
        asleep = done if mode is AutoresetMode.NEXT_STEP else np.zeros_like(done)
        if mode is AutoresetMode.DISABLED and done.any():
            env.reset(options={"reset_mask": done})
    return said, true


def test_make_takes_a_folder_an_id_and_the_id_with_its_module(dream_folder, dream_id):
    for env in (
        gym.make("DreamEnv-v0", model=str(dream_folder)),
        gym.make("DreamEnv-v0", model=dream_id),
        gym.make(dream_id),
        gym.make(f"dreamgym:{dream_id}"),
        gym.make("DreamEnv-v0", model=dream_folder),
    ):
        assert isinstance(env.unwrapped, DreamEnv)
        assert env.observation_space == PICTURES
        assert env.reset(seed=0)[0] in env.observation_space


def test_the_module_prefix_registers_the_dreams_by_itself():
    code = """
        import gymnasium as gym
        print("DreamEnv-v0" in gym.registry)
        try:
            gym.make("dreamgym:DreamEnv-v0", model="nothing")
        except KeyError as error:
            print(error)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[0] == "False"
    assert run.stdout.splitlines()[1].startswith("unknown dream 'nothing'; available: ")


def test_many_envs_share_the_weights_of_one_dream(dream_id):
    one, two, many = gym.make(dream_id), gym.make(dream_id), gym.make_vec(dream_id, num_envs=2)
    assert one.unwrapped.dream.model is two.unwrapped.dream.model is many.dream.model


def truncations(env, steps=20):
    env.reset(seed=0)
    for step in range(1, steps + 1):
        truncated = env.step(env.action_space.sample())[3]
        if np.any(truncated):
            return step
    return None


@pytest.mark.parametrize(("given", "limit"), [({}, 6), ({"max_episode_steps": 3}, 3), ({"max_episode_steps": 9}, 9)])
def test_the_time_limit_is_the_ids_or_the_one_given_to_make(dream_id, given, limit):
    assert truncations(gym.make(dream_id, **given)) == limit
    assert truncations(gym.make_vec(dream_id, num_envs=2, **given)) == limit


def test_minus_one_takes_the_time_limit_away(dream_id):
    assert truncations(gym.make(dream_id, max_episode_steps=-1)) is None


def test_without_an_id_the_time_limit_is_the_dreams_own(dream_folder, dream_id):
    for model in (str(dream_folder), dream_id):
        assert truncations(DreamEnv(model)) == 6
        assert truncations(gym.make("DreamEnv-v0", model=model)) == 6
        assert truncations(gym.make("DreamEnv-v0", model=model, max_episode_steps=4)) == 4
        assert truncations(gym.make_vec("DreamEnv-v0", num_envs=2, model=model)) == 6


def test_a_fork_of_an_env_that_make_limits_is_limited_as_the_dream_is(dream_id):
    env = gym.make(dream_id)
    env.reset(seed=0)
    env.step(1)
    assert truncations_of(env.unwrapped.fork(2)) == 5


def truncations_of(env):
    for step in range(1, 20):
        if env.step(np.zeros(env.num_envs, int))[3].any():
            return step
    return None


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_spec_of_a_vector_env_survives_json(dream_id, mode):
    options = {"autoreset_mode": mode.value, "observation": "features", "starts": "first"}
    wrap = [("temperature", {"temperature": 4.0})]
    env = gym.make_vec(dream_id, num_envs=3, wrap=wrap, max_episode_steps=4, **options)
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert (again.num_envs, again.autoreset_mode, again.view.observation) == (3, mode, "features")
    assert again.metadata["autoreset_mode"] is mode
    assert again.dream.model.temperature == 4.0
    assert (again.simulator.max_episode_steps, len(again.simulator.starts)) == (4, 4)
    for a, b in zip(env.reset(seed=0), again.reset(seed=0), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(env.step(np.ones(3, int))[0], again.step(np.ones(3, int))[0])


def test_the_spec_of_an_env_survives_json(dream_id):
    env = gym.make(dream_id, observation="features", wrap=[("temperature", {"temperature": 2.0})])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.dream.model.temperature == 2.0
    assert np.array_equal(env.reset(seed=3)[0], again.reset(seed=3)[0])


def test_wrappers_of_the_model_reach_the_dream(dream_id):
    def noise(*wrap):
        env = gym.make(dream_id, observation="features", wrap=wrap)
        env.reset(seed=0)
        return env.step(1)[0][3]

    hot = ("temperature", {"temperature": 4.0})
    assert noise(hot) == pytest.approx(2 * noise())
    assert noise(hot, hot) == pytest.approx(4 * noise())


@pytest.mark.parametrize(
    ("wrap", "error", "message"),
    [
        ([("temprature", {})], UnknownName, "unknown wrapper 'temprature'; available: .*Did you mean 'temperature'"),
        ([("temperature", {"temperature": 0})], InvalidTemperature, "temperature is 0; expected a number above 0"),
        ([("temperature", {"heat": 2})], InvalidArgument, "wrapper 'temperature' does not take {'heat': 2}: "),
        ([("temperature", 1.2)], InvalidArgument, r"wrap holds \('temperature', 1.2\); expected \(name, kwargs\)"),
        (["temperature"], InvalidArgument, r"wrap holds 'temperature'; expected \(name, kwargs\)"),
        ([3], InvalidArgument, r"wrap holds 3; expected \(name, kwargs\)"),
        ("temperature", InvalidArgument, r"wrap is 'temperature'; expected a list of \(name, kwargs\)"),
    ],
)
def test_a_bad_wrap_is_refused_by_its_value(wrap, error, message):
    with pytest.raises(error, match=message):
        DreamEnv(counting_dream(), wrap=wrap)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"model": "DreamCountin-v0"}, UnknownName, "unknown dream 'DreamCountin-v0'.*Did you mean 'DreamCounting-v0'"),
        ({"model": "DreamCounting-v0", "variant": "plane"}, UnknownName,
         "unknown variant of DreamCounting-v0 'plane'; available: plain. Did you mean 'plain'"),
        ({"model": counting_dream().model}, InvalidModel, "model is a bare WorldModel; a dream needs starts too"),
    ],
)  # fmt: skip
def test_an_unknown_dream_or_variant_is_refused_by_its_name(dream_id, kwargs, error, message):
    with pytest.raises(error, match=message):
        gym.make("DreamEnv-v0", **kwargs)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_episode_statistics_are_right_in_every_autoreset_mode(mode):
    if mode is AutoresetMode.SAME_STEP and tuple(map(int, gym.__version__.split(".")[:2])) < (1, 4):
        pytest.skip("before 1.4 Gymnasium's wrapper does not know this mode")
    dream = counting_dream(lengths=(3, 7, 4), hazard=0.05, max_episode_steps=5)
    env = wrappers.vector.RecordEpisodeStatistics(DreamVectorEnv(dream, 4, autoreset_mode=mode))
    said, true = returns_and_lengths(env)
    assert len(true) > 40
    assert np.array(said) == pytest.approx(np.array(true), abs=1e-4)


EQUIVALENT = [
    ("GrayscaleObservation", {}),
    ("ReshapeObservation", {"shape": (6, 12)}),
    ("DtypeObservation", {"dtype": np.int32}),
    ("FlattenObservation", {}),
    ("RescaleObservation", {"min_obs": np.float32(0), "max_obs": np.float32(1)}),
    ("ClipReward", {"min_reward": -0.5, "max_reward": 3.0}),
]


@pytest.mark.parametrize(("name", "kwargs"), EQUIVALENT, ids=[name for name, _ in EQUIVALENT])
def test_a_vector_wrapper_around_a_dream_equals_the_wrapper_in_each_lane(name, kwargs, dream_folder):
    outside = getattr(wrappers.vector, name)(gym.make_vec("DreamEnv-v0", num_envs=3, model=dream_folder), **kwargs)
    inside = gym.make_vec(
        "DreamEnv-v0", num_envs=3, model=dream_folder, vectorization_mode="sync",
        wrappers=[lambda env: getattr(wrappers, name)(env, **kwargs)],
    )  # fmt: skip
    assert outside.observation_space == inside.observation_space
    assert np.array_equal(outside.reset(seed=123)[0], inside.reset(seed=123)[0])
    for _ in range(20):
        action = outside.action_space.sample()
        for a, b in zip(outside.step(action)[:4], inside.step(action)[:4], strict=True):
            assert np.allclose(a, b, atol=1e-6)
            assert a.dtype == b.dtype


@pytest.mark.parametrize("mode", AutoresetMode)
def test_reward_wrappers_and_lists_of_infos_work_in_every_mode(mode):
    dream = counting_dream(lengths=(2,), max_episode_steps=5)
    env = wrappers.vector.DictInfoToList(
        wrappers.vector.TransformReward(DreamVectorEnv(dream, 2, autoreset_mode=mode), lambda r: r * 2)
    )
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    _, reward, terminated, _, infos = env.step(np.zeros(2, int))
    assert reward.tolist() == [4.0, 4.0]
    assert terminated.all()
    ended = infos[0]["final_info"] if mode is AutoresetMode.SAME_STEP else infos[0]
    assert ended["termination"] == 1.0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("observation", ["pixels", "features"])
def test_an_async_vector_env_of_made_envs_dreams_the_same(dream_folder, observation):
    def make():
        import oracle  # noqa: F401  registers the family in the worker

        return gym.make("dreamgym:DreamEnv-v0", model=dream_folder, observation=observation)

    env = AsyncVectorEnv([make] * 2, context="fork")
    try:
        ours = DreamVectorEnv(dream_folder, 2, observation=observation)
        assert np.array_equal(env.reset(seed=4)[0], ours.reset(seed=4)[0])
        for _ in range(10):
            action = ours.action_space.sample()
            for a, b in zip(env.step(action)[:4], ours.step(action)[:4], strict=True):
                assert np.array_equal(a, b)
    finally:
        env.close()


def test_a_window_comes_free_from_make(dream_id):
    pygame = pytest.importorskip("pygame")
    with pytest.warns(UserWarning, match="The HumanRendering wrapper is being applied"):
        env = gym.make(dream_id, render_mode="human")
    env.unwrapped.metadata["render_fps"] = 1000
    env.reset(seed=0)
    env.step(1)
    assert pygame.display.get_surface() is not None
    env.close()


def test_a_list_of_pictures_comes_free_from_make(dream_id):
    env = gym.make(dream_id, render_mode="rgb_array_list")
    env.reset(seed=0)
    env.step(1)
    env.step(2)
    frames = env.render()
    assert len(frames) == 3
    assert not np.array_equal(frames[0], frames[2])


def test_the_frames_a_second_are_the_cards(dream_id):
    assert gym.make(dream_id).metadata["render_fps"] == 30
    assert gym.make_vec(dream_id).metadata["render_fps"] == 30
    assert DreamEnv(counting_dream()).metadata["render_fps"] == 15


def test_gymnasiums_window_tiles_a_vector_env(dream_folder):
    pytest.importorskip("cv2")
    pytest.importorskip("pygame")
    env = wrappers.vector.HumanRendering(DreamVectorEnv(dream_folder, 4, render_mode="rgb_array"))
    env.reset(seed=0)
    env.step(np.zeros(4, int))
    env.close()


@pytest.mark.filterwarnings("ignore:.*Recorded episodes will not contain the last frame")  # Gymnasium's own limit
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_gymnasium_records_videos_of_dreams(dream_folder, mode, tmp_path):
    pytest.importorskip("moviepy")
    if not hasattr(wrappers.vector, "RecordVideo"):
        pytest.skip("Gymnasium 1.1 records no videos of vector envs")
    env = DreamVectorEnv(dream_folder, 2, render_mode="rgb_array", autoreset_mode=mode)
    env = wrappers.vector.RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    for _ in range(8):
        env.step(np.zeros(2, int))
    env.close()
    assert list(tmp_path.glob("videos/*.mp4"))


def test_make_refuses_unknown_options_by_name(dream_id):
    with pytest.raises(TypeError, match="temperature"):
        gym.make(dream_id, temperature=2.0)


def test_a_dream_is_listed_with_its_variants(dream_id):
    (row,) = [row for row in dreamgym.list_dreams() if row["id"] == dream_id]
    assert (row["variant"], row["family"], row["present"]) == ("plain", "counting", True)
    assert row["bytes"] > 0
