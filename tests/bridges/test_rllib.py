"""RLlib in a dream: env runners here and in other processes splice nothing, and policies are exported unchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ray.rllib")
import ray
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.connectors.env_to_module import MeanStdFilter
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.spaces.space_utils import unsquash_action

from dreamgym import hub
from dreamgym.bridges.rllib import dream_config, export_policy, guard
from dreamgym.core.policy import load_policy
from dreamgym.errors import InvalidArgument, InvalidArgumentType, PolicyMismatch
from dreamgym.testing import Episodes, Experience, check_experience, counting_dream
from dreamgym.testing.counting import BUTTONS, LEVER

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")]

LANES, LIMIT = 5, 7
LENGTHS = (3, 5, 4, 9)
TINY = DefaultModelConfig(fcnet_hiddens=[8, 8])


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the counting world lies as a dream on disk."""
    dream = counting_dream(lengths=LENGTHS)
    return hub.save_dream(tmp_path_factory.mktemp("dreams") / "counting", dream.model, dream.starts, {"id": "Counting"})


def config_of(folder: Path, **options: Any) -> PPOConfig:
    options = {"max_episode_steps": LIMIT, "module": "dreamgym.testing", **options}
    config = dream_config(PPOConfig(), folder, LANES, **options)
    return config.env_runners(num_env_runners=0).debugging(seed=0, log_level="ERROR").rl_module(model_config=TINY)


def runner_of(config: PPOConfig, worker_index: int = 1) -> SingleAgentEnvRunner:
    return SingleAgentEnvRunner(config=config, worker_index=worker_index)


def check(chunks: list[Any]) -> Episodes:
    """Return the episodes of a runner's chunks, each checked from its first step on."""
    parts = defaultdict(list)
    for chunk in chunks:
        parts[chunk.id_].append(chunk)
    steps = max(sum(map(len, part)) for part in parts.values())

    def stack(get: Any) -> np.ndarray:
        columns = [np.concatenate([get(chunk) for chunk in part]) for part in parts.values()]
        return np.stack([np.concatenate([c, np.zeros((steps - len(c), *c.shape[1:]), c.dtype)]) for c in columns], 1)

    def last(flag: str) -> Any:
        return lambda chunk: np.arange(len(chunk)) == (len(chunk) - 1 if getattr(chunk, flag) else -1)

    seen = Experience(
        obs=stack(lambda chunk: chunk.get_observations()[:-1]), action=stack(lambda chunk: chunk.get_actions()),
        reward=stack(lambda chunk: chunk.get_rewards()), terminated=stack(last("is_terminated")),
        truncated=stack(last("is_truncated")), next_obs=stack(lambda chunk: chunk.get_observations()[1:]),
        valid=stack(lambda chunk: np.ones(len(chunk), bool)),
    )  # fmt: skip
    assert (seen.obs[0, :, 1] == 0).all(), "an episode lacks its beginning"
    return check_experience(seen, LIMIT, counting_dream(lengths=LENGTHS).model.config)


def enough(found: Episodes) -> bool:
    return found.terminated > 10 and found.truncated > 3


def assert_statistics(metrics: Any, found: Episodes) -> None:
    figures = {"mean": np.mean, "min": np.min, "max": np.max}
    for name, figure in figures.items():
        assert metrics[f"episode_return_{name}"] == pytest.approx(figure(found.returns), abs=1e-4)
        assert metrics[f"episode_len_{name}"] == pytest.approx(figure(found.lengths))


@pytest.mark.parametrize("random_actions", [True, False])
def test_what_a_runner_samples_is_what_the_world_did(folder: Path, random_actions: bool) -> None:
    config = config_of(folder).reporting(metrics_num_episodes_for_smoothing=10_000)
    runner = runner_of(config)
    chunks = [c for _ in range(6) for c in runner.sample(num_timesteps=60, random_actions=random_actions)]
    found = check(chunks)
    assert enough(found)
    assert_statistics({k: v.peek() for k, v in runner.get_metrics().items() if hasattr(v, "peek")}, found)


def test_a_remote_runner_samples_the_same_and_loads_the_weights_once(folder: Path) -> None:
    config = config_of(folder).env_runners(num_env_runners=1)
    remote = ray.remote(SingleAgentEnvRunner).options(num_cpus=0.5).remote(config=config, worker_index=1)
    chunks = [c for _ in range(6) for c in ray.get(remote.sample.remote(num_timesteps=60))]
    assert enough(check(chunks))
    ray.get(remote.make_env.remote())
    assert ray.get(remote.apply.remote(lambda runner: hub._load.cache_info().misses)) == 1
    ray.kill(remote)


def test_runners_dream_different_dreams_and_each_the_same_again(folder: Path) -> None:
    config = config_of(folder, starts="all").env_runners(num_env_runners=2)

    def lanes(worker_index: int) -> list[int]:
        runner = runner_of(config, worker_index)
        runner.sample(num_timesteps=1)
        return runner.env.unwrapped.lanes.seed.tolist()

    first, second = lanes(1), lanes(2)
    assert len({*first, *second}) == 2 * LANES
    assert lanes(1) == first


@pytest.mark.parametrize("num_env_runners", [0, 1])
def test_ppo_trains_and_its_policy_survives_the_export(folder: Path, num_env_runners: int, tmp_path: Path) -> None:
    config = config_of(folder).env_runners(num_env_runners=num_env_runners, num_cpus_per_env_runner=0.5)
    config.training(train_batch_size=200, minibatch_size=100, num_epochs=1)
    algorithm = config.build_algo()
    result = algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled"] >= 200
    policy = export_policy(algorithm, folder, tmp_path / "policy.safetensors")
    assert_same(policy, algorithm)
    assert_same(load_policy(tmp_path / "policy.safetensors"), algorithm)
    assert policy.config.model_sha256 == hub.load(folder).model_sha256 != ""
    algorithm.stop()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("free", [True, False])
def test_a_policy_of_numbers_survives_the_export(shared: bool, free: bool, tmp_path: Path) -> None:
    dream = counting_dream(action_space=LEVER)  # of -2 to 2
    hub.save_dream(tmp_path, dream.model, dream.starts)
    model = DefaultModelConfig(fcnet_hiddens=[8], fcnet_activation="relu", vf_share_layers=shared, free_log_std=free)
    algorithm = config_of(tmp_path).rl_module(model_config=model).build_algo()
    assert_same(export_policy(algorithm, tmp_path), algorithm)
    algorithm.stop()


class Halves(DefaultPPOTorchRLModule):
    """PPO's module with first weights of a user's own."""

    def setup(self) -> None:
        super().setup()
        torch.nn.init.constant_(self.pi.net.mlp[-1].bias, 0.5)


def test_a_module_with_first_weights_of_ones_own_is_exported(folder: Path) -> None:
    spec = RLModuleSpec(module_class=Halves, model_config=asdict(TINY))
    algorithm = config_of(folder).rl_module(rl_module_spec=spec).build_algo()
    policy = export_policy(algorithm, folder)
    assert (policy.net[-1].bias == 0.5).all()
    assert_same(policy, algorithm)
    algorithm.stop()


def assert_same(policy: Any, algorithm: PPO) -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(0, 4, (200, 4)).astype(np.float32))
    module = algorithm.get_module()
    with torch.no_grad():
        inputs = module.forward_inference({"obs": features})["action_dist_inputs"]
        theirs = module.get_inference_action_dist_cls().from_logits(inputs).to_deterministic().sample().numpy()
        ours = policy.act(features).numpy()
    if policy.action_space != BUTTONS:
        theirs = np.stack([unsquash_action(one, policy.action_space) for one in theirs])
    assert len(np.unique(theirs)) > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_another_mode_is_refused_wherever_it_comes_from(folder: Path, mode: str) -> None:
    match = f"autoreset_mode is '{mode}'; RLlib .* use 'NextStep'"
    with pytest.raises(InvalidArgument, match=match):
        config_of(folder, autoreset_mode=mode)
    before = PPOConfig().environment(env_config={"autoreset_mode": mode})
    with pytest.raises(InvalidArgument, match=match):
        runner_of(dream_config(before, "DreamDodge-v0"))
    after = config_of(folder).environment(env_config={"autoreset_mode": mode})
    with pytest.raises(InvalidArgument, match=match):
        runner_of(after.callbacks(RLlibCallback))
    plain = PPOConfig().environment("dreamgym:DreamDodge-v0", env_config={"autoreset_mode": mode})
    plain.env_runners(num_env_runners=0, gym_env_vectorize_mode="vector_entry_point")
    with pytest.raises(InvalidArgument, match=match):
        plain.callbacks(on_environment_created=guard).build_algo()


def test_without_the_guard_another_mode_joins_episodes(folder: Path) -> None:
    config = config_of(folder).environment(env_config={"autoreset_mode": "SameStep"})
    runner = runner_of(config.callbacks(on_environment_created=[]))
    with pytest.raises(AssertionError, match="an episode lacks its beginning"):
        check(runner.sample(num_timesteps=60))


def test_what_a_remote_runner_refuses_stops_the_algorithm_and_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(folder).environment(env_config={"autoreset_mode": "SameStep"})
    with pytest.raises((IndexError, KeyError)):  # RLlib finds no runner to ask for the spaces
        config.env_runners(num_env_runners=1).build_algo()
    assert "autoreset_mode is 'SameStep'; RLlib resets a lane" in caplog.text


def test_callbacks_of_ones_own_are_kept(folder: Path) -> None:
    def mine(**kwargs: Any) -> None:
        raise ValueError("mine was called")

    config = dream_config(PPOConfig().callbacks(on_environment_created=mine), folder, module="dreamgym.testing")
    assert dream_config(config, folder).callbacks_on_environment_created == [guard, mine]
    with pytest.raises(ValueError, match="mine was called"):
        runner_of(dream_config(config, "DreamDodge-v0", 2))


def test_what_runners_cannot_use_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="output is 'torch'; RLlib takes arrays: use 'numpy'"):
        config_of(folder, output="torch")
    with pytest.raises(InvalidArgumentType, match="model is a LoadedDream; env runners load a dream by its id"):
        dream_config(PPOConfig(), counting_dream())  # type: ignore[arg-type]


def test_what_is_no_perceptron_of_this_dream_is_not_exported(folder: Path) -> None:
    lstm = config_of(folder).rl_module(model_config=DefaultModelConfig(use_lstm=True, max_seq_len=4)).build_algo()
    with pytest.raises(InvalidArgument, match="expected PPO's default module without memory"):
        export_policy(lstm, folder)
    lstm.stop()
    config = config_of(folder).env_runners(env_to_module_connector=lambda env, spaces, device: MeanStdFilter())
    filtered = config.build_algo()
    with pytest.raises(InvalidArgument, match="connectors change what the policy sees"):
        export_policy(filtered, folder)
    filtered.stop()
    plain = config_of(folder).build_algo()
    with pytest.raises(PolicyMismatch, match="the policy acts in Discrete"):
        export_policy(plain, "DreamPendulum-v0")
    plain.stop()
