"""sb3-contrib's RecurrentPPO: PPO whose policy has a memory of its own.

python benchmarks/libraries/with_sb3_contrib.py train
python benchmarks/libraries/with_sb3_contrib.py speed

Writes results.csv and speed.csv into runs/libraries. Ten minutes a seed on one core.
"""

from __future__ import annotations

from measure import Speed, Step, Train, main
from sb3_contrib import RecurrentPPO
from with_sb3 import speed as sb3_speed

from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.bridges.sb3_contrib import RecurrentActor


def train(options: Train, seed: int) -> RecurrentActor:
    """Return what RecurrentPPO learned."""
    envs = DreamVecEnv(options.dream, options.lanes, **options.env)
    ppo = RecurrentPPO("MlpLstmPolicy", envs, n_steps=32, batch_size=2048, n_epochs=4, gamma=0.97, ent_coef=0.005,
                       learning_rate=5e-4, policy_kwargs={"lstm_hidden_size": 64}, seed=seed, device="cpu")  # fmt: skip
    return RecurrentActor(ppo.learn(options.steps), options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps as RecurrentPPO's rollout makes them, which are SB3's."""
    return sb3_speed(options)


if __name__ == "__main__":
    main("sb3-contrib", "RecurrentPPO", train, speed)
