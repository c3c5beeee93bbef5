"""On a GPU everything gives what it gives on the CPU, and a step never waits: `pytest -m gpu`."""

import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from tiny import CONFIG, dodge_episode

import dreamgym
from dreamgym.agents.dreamer import train_dreamer
from dreamgym.agents.evolution import evolve
from dreamgym.bench.gpu import capture, gpu_calls
from dreamgym.bench.speed import sample_actions
from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, train_ppo
from dreamgym.core.codec import encode_action
from dreamgym.core.model import StageConfig
from dreamgym.core.starts import make_start_bank
from dreamgym.core.tree import clone, named_leaves
from dreamgym.data import Dataset, DatasetWriter
from dreamgym.data.sequences import SequenceSampler
from dreamgym.envs.open import open_dream
from dreamgym.envs.simulator import Simulator
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.hub import LoadedDream, load, save_dream
from dreamgym.models.rssm import Config as RssmConfig
from dreamgym.models.rssm import Rssm
from dreamgym.models.vae_mdn_rnn import VaeMdnRnn
from dreamgym.planners.gradient import GradientAscent
from dreamgym.planners.shooting import Cem, CemConfig, Mppi, RandomShooting
from dreamgym.planners.tree_search import TreeSearch
from dreamgym.registry import DREAMS
from dreamgym.training import TrainConfig, fit
from dreamgym.training.log import read_log

GPU = "cuda"
SMALL = RssmConfig(groups=4, classes=4, deter_dim=16, hidden_dim=16, channels=(4, 4, 8, 8))
VARIANTS = [(id, variant) for id, dream in DREAMS.items() for variant in dream.variants]
ALL = pytest.mark.parametrize(("id", "variant"), VARIANTS)

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dodge")
    env = gym.make("Dodge-v0")
    with DatasetWriter(folder, "Dodge-v0", env.observation_space, env.action_space) as writer:
        for seed in range(8):
            writer.add(dodge_episode(seed))
    return Dataset(folder)


def rollout(id, variant, device, lanes=64, steps=12):
    """Return features, rewards and ends of the lanes of a dream, `[steps, lanes, ...]` each, on the host."""
    envs = DreamVectorEnv(id, lanes, variant=variant, observation="features", output="torch", device=device)
    actions = torch.as_tensor(sample_actions(envs.dream.model, lanes), device=device)
    first, _ = envs.reset(seed=7)
    seen, rewards, ends = [first], [], []
    for _ in range(steps):
        obs, reward, terminated, _, _ = envs.step(actions)
        assert {obs.device.type, reward.device.type, terminated.device.type} == {torch.device(device).type}
        seen.append(obs)
        rewards.append(reward)
        ends.append(terminated)
    return [torch.stack(part).cpu() for part in (seen, rewards, ends)]


@ALL
def test_a_lane_dreams_on_a_gpu_what_it_dreams_on_the_cpu(id, variant):
    ours, theirs = rollout(id, variant, GPU), rollout(id, variant, "cpu")
    assert torch.equal(ours[0][0], theirs[0][0])  # the same starts
    alike = [
        torch.isclose(a.float(), b.float(), rtol=1e-3, atol=1e-3).flatten(2).all(2).all(0)
        if a.ndim > 2
        else torch.isclose(a.float(), b.float(), rtol=1e-3, atol=1e-2).all(0)
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert torch.stack(alike).all(0).float().mean() > 0.95  # where a draw lies on the edge, rounding decides


@ALL
def test_a_step_makes_nobody_wait_and_a_graph_of_it_steps_as_it_does(id, variant):
    dream = load(id, variant, GPU)
    gpu_calls(dream, 32, GPU)["graph"]()  # raises if the host had to wait
    simulator = Simulator(dream.model, dream.starts, max_episode_steps=4)
    action = encode_action(dream.model.action_space, sample_actions(dream.model, 32)).to(GPU)
    lanes = simulator.begin(torch.arange(32, device=GPU))
    captured = clone(lanes)
    replay = capture(simulator, captured, action).replay
    after = clone(captured)  # three steps of warming up lie behind it
    for _ in range(6):  # across the end of an episode
        replay()
        after = simulator.step(after, action)[0]
    for name, leaf in named_leaves(captured).items():
        assert torch.allclose(leaf.float(), named_leaves(after)[name].float(), rtol=1e-3, atol=1e-3), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@torch.no_grad()  # as the env steps, and the bench
def test_a_step_compiles():
    dream = load("DreamDodge-v0", device=GPU)
    calls = gpu_calls(dream, 32, GPU)
    calls["compiled"]()


def test_an_env_gives_arrays_where_arrays_are_asked_for():
    envs = gym.make_vec("DreamDodge-v0", num_envs=8, device=GPU)
    obs, _ = envs.reset(seed=0)
    assert isinstance(obs, np.ndarray)
    obs, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert obs.shape == (8, 64, 64, 3)
    assert all(isinstance(x, np.ndarray) for x in (obs, reward, terminated, truncated))
    envs.close()


def test_pictures_are_those_of_the_cpu():
    pictures = []
    for device in (GPU, "cpu"):
        envs = DreamVectorEnv("DreamCarRacing-v0", 8, device=device)
        pictures.append(envs.reset(seed=3)[0].astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


@pytest.mark.parametrize("resident", [True, False])
def test_windows_on_a_gpu_are_those_of_the_host(dataset, resident):
    theirs = SequenceSampler(dataset, 5, 6, device="cpu").batch(3)
    ours = SequenceSampler(dataset, 5, 6, device=GPU, resident=resident).batch(3)
    for name, leaf in named_leaves(ours).items():
        assert leaf.device.type == GPU
        assert torch.allclose(leaf.cpu().float(), named_leaves(theirs)[name].float(), atol=1e-6), name  # 1/255 rounds


def losses(dataset, folder, family=Rssm, capture=True):
    """Return the log of each stage of eight steps of training."""
    torch.manual_seed(0)
    model = family(CONFIG if family is VaeMdnRnn else SMALL, dataset.observation_space, dataset.action_space)
    stages = {name: replace(stage, steps=8, batch_size=4, sequence_length=5) for name, stage in model.stages.items()}
    config = TrainConfig(device=GPU, precision="fp32", capture=capture, log_every=1, progress=False, tensorboard=False)
    fit(model, dataset, folder, stages=stages, config=config)
    return {path.stem: read_log(path) for path in (folder / "logs").glob("*.csv")}


@pytest.mark.parametrize("family", [VaeMdnRnn, Rssm])
def test_a_captured_step_of_training_learns_what_the_plain_one_does(dataset, family, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*without a CUDA graph")
        captured = losses(dataset, tmp_path / "captured", family)
    plain = losses(dataset, tmp_path / "plain", family, capture=False)
    assert captured.keys() == plain.keys() == set(family.stages)
    for stage, columns in captured.items():
        for name in (name for name in columns if "validation" not in name and name != "frames_per_second"):
            assert columns[name] == pytest.approx(plain[stage][name], rel=0.02), name


class Waiting(Rssm):
    def loss(self, batch, stage):
        loss, terms = super().loss(batch, stage)
        assert loss.item() > 0
        return loss, terms


def test_a_loss_that_waits_is_trained_without_a_graph_and_says_so(dataset, tmp_path):
    with pytest.warns(UserWarning, match="'rssm' is trained without a CUDA graph"):
        ours = losses(dataset, tmp_path / "waiting", Waiting)
    theirs = losses(dataset, tmp_path / "plain", capture=False)
    assert ours["rssm"]["reconstruction"] == pytest.approx(theirs["rssm"]["reconstruction"], rel=0.02)


@pytest.mark.parametrize("family", [VaeMdnRnn, Rssm])
def test_training_learns_resumes_and_leaves_a_dream_for_the_cpu(dataset, family, tmp_path):
    torch.manual_seed(0)
    model = family(CONFIG if family is VaeMdnRnn else SMALL, dataset.observation_space, dataset.action_space)
    config = TrainConfig(device=GPU, log_every=5, checkpoint_every=20, holdout=0.3, progress=False, tensorboard=False)
    for steps in (20, 40):
        stages = {
            name: StageConfig(steps=steps, batch_size=4, sequence_length=min(stage.sequence_length, 6))
            for name, stage in model.stages.items()
        }
        result = fit(
            model, dataset, tmp_path / "run", stages=stages, only=list(stages)[:1], resume=steps == 20, config=config
        )
    assert all(np.isfinite(x) for terms in result.terms.values() for x in terms.values())
    bank = make_start_bank(result.model.cpu(), [dodge_episode(0)], 8)
    folder = save_dream(tmp_path / "dream", result.model, bank, {"id": "dream", "max_episode_steps": 20})
    envs = DreamVectorEnv(folder, 4, device="cpu")
    envs.reset(seed=0)
    assert envs.step(np.zeros(4, np.int64))[0].shape == (4, 64, 64, 3)


def test_a_policy_learned_on_a_gpu_acts_on_the_cpu():
    config = PPOConfig(rollout=8, minibatch=256)
    algorithm, curve = train_ppo("DreamDodge-v0", decisions=4096, lanes=64, device=GPU, config=config)
    assert algorithm.device.type == GPU
    assert len(curve) == 8
    policy = export_policy(algorithm, "DreamDodge-v0")
    assert np.isfinite(dreamgym.evaluate("DreamDodge-v0", policy, side="dream", episodes=2)["dream"]["mean"])


def test_dreamer_and_evolution_learn_on_a_gpu():
    dream = open_dream("DreamCartPole-v0", None, (), GPU)
    for policy, _ in (train_dreamer(dream, updates=2), evolve(dream, generations=2, population=4, horizon=10)):
        assert next(policy.parameters()).device.type == "cpu"
        assert np.isfinite(dreamgym.evaluate("DreamCartPole-v0", policy, side="dream", episodes=2)["dream"]["mean"])


@pytest.mark.parametrize(
    ("id", "planner"),
    [
        ("DreamCartPole-v0", RandomShooting()),
        ("DreamCartPole-v0", Cem(CemConfig(num_candidates=50, num_elites=5))),
        ("DreamPendulum-v0", Mppi()),
        ("DreamPendulum-v0", GradientAscent()),
        ("DreamCartPole-v0", TreeSearch()),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else x,
)
def test_planners_plan_on_a_gpu(id, planner):
    values = []
    for device in (GPU, "cpu"):
        dream: LoadedDream = load(id, device=device)
        state = dream.starts.sample(torch.linspace(0, 0.99, 4, device=device))
        plan = planner.plan(dream.model, state, torch.arange(4, device=device))
        assert plan.finite.all()
        assert plan.actions.device.type == device
        values.append(plan.value.cpu())
    assert torch.allclose(*values, rtol=0.2, atol=1.0)


def test_the_bridges_to_learners_on_tensors_never_leave_the_gpu():
    pytest.importorskip("torchrl")
    from dreamgym.bridges.torchrl import DreamTorchRLEnv

    env = DreamTorchRLEnv("DreamDodge-v0", 8, device=GPU)
    data = env.rollout(5)
    assert data["observation"].device.type == GPU
