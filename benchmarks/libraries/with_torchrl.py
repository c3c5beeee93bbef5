"""TorchRL's PPO: its collector, its GAE, its clipped loss.

python benchmarks/libraries/with_torchrl.py train
python benchmarks/libraries/with_torchrl.py speed

Writes results.csv and speed.csv into runs/libraries. One and a half minutes a seed on one core.
"""

from __future__ import annotations

import torch
from gymnasium import spaces
from measure import PPOSettings, Speed, Step, Train, main, orthogonal
from tensordict import TensorDict
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import EnvBase, GymEnv, SerialEnv
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from dreamgym.bridges.torchrl import DreamTorchRLEnv, export_policy
from dreamgym.core.policy import Policy


def make_actor(env: DreamTorchRLEnv, settings: PPOSettings) -> ProbabilisticActor:
    """Return an actor for a Discrete or a bounded Box."""
    space = env.envs.single_action_space
    width, cells = env.observation_spec["observation"].shape[-1], [settings.hidden] * 2
    if isinstance(space, spaces.Discrete):
        net, keys = orthogonal(MLP(width, int(space.n), num_cells=cells), 0.01), ["logits"]
        kind, options = torch.distributions.Categorical, {}
    else:
        low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
        means = orthogonal(MLP(width, len(low), num_cells=cells), 0.01)
        net = nn.Sequential(means, AddStateIndependentNormalScale(len(low), init_value=settings.log_std))
        kind, keys, options = TanhNormal, ["loc", "scale"], {"low": low, "high": high}
    module = TensorDictModule(net, ["observation"], keys)
    return ProbabilisticActor(module, keys, spec=env.action_spec_unbatched, distribution_class=kind,
                              distribution_kwargs=options, return_log_prob=True)  # fmt: skip


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    torch.manual_seed(seed)
    env = DreamTorchRLEnv(options.dream, options.lanes, **options.env)
    env.set_seed(seed)
    settings = options.ppo
    actor = make_actor(env, settings)
    values = MLP(env.observation_spec["observation"].shape[-1], 1, num_cells=[settings.hidden] * 2)
    critic = ValueOperator(orthogonal(values, 1.0))
    loss = ClipPPOLoss(actor, critic, entropy_coeff=settings.entropy, critic_coeff=0.5, loss_critic_type="l2",
                       normalize_advantage=True)  # fmt: skip
    gae = GAE(gamma=settings.gamma, lmbda=0.95, value_network=critic)
    optimizer = torch.optim.Adam(loss.parameters(), lr=settings.learning_rate, eps=1e-5)
    frames = 32 * options.lanes
    collector = Collector(env, actor, frames_per_batch=frames, total_frames=options.steps, use_buffers=False,
                          auto_register_policy_transforms=False)  # fmt: skip
    for batch in collector:
        with torch.no_grad():
            gae(batch)
        steps = batch.reshape(-1)
        for _ in range(settings.epochs):
            for rows in torch.randperm(len(steps)).split(2048):
                losses = loss(steps[rows])
                optimizer.zero_grad()
                sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
    return export_policy(actor, options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream and of CartPole as collectors make them, resets included, and the bridge's own share."""
    few = SerialEnv(16, lambda: GymEnv("CartPole-v1", categorical_action_encoding=True))
    return {
        "bridge": collecting(DreamTorchRLEnv(options.dream, options.lanes)),
        "bridge, _step and _reset alone": stepping(DreamTorchRLEnv(options.dream, options.lanes)),
        "CartPole, 16 lanes": collecting(few),
    }


def collecting(env: EnvBase) -> Step:
    """Return a function that steps all lanes with the same actions and resets those that ended, as collectors do."""
    now = env.rand_action(env.reset())
    action = now["action"]

    def step() -> None:
        nonlocal now
        _, now = env.step_and_maybe_reset(now.set("action", action))

    return step, env.batch_size[0]


def stepping(env: DreamTorchRLEnv) -> Step:
    """Return a function that does the same without what TorchRL does around it."""
    actions, now = env.rand_action(), env.reset()

    def step() -> None:
        nonlocal now
        now = env._step(actions)
        if now["done"].any():
            env._reset(TensorDict({"_reset": now["done"]}, env.batch_size))

    return step, env.batch_size[0]


if __name__ == "__main__":
    main("TorchRL", "PPO", train, speed)
