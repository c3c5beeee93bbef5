"""Learn a world model of CartPole while acting in it, and a policy in its imagination; then score it on both sides.

    python examples/learn_while_acting.py            # about ten minutes on one core
    python examples/learn_while_acting.py --smoke    # seconds

Prints what the policy earns in its dream and in the real environment; the last number is the real one.
"""

import sys

import dreamgym
from dreamgym.agents.dreamer_config import DreamerConfig
from dreamgym.models.rssm import Config
from dreamgym.online import OnlineConfig, train_online

SMOKE = "--smoke" in sys.argv
EPISODES = 2 if SMOKE else 20

# Killed at any moment, it goes on from its last checkpoint when it is started again.
result = train_online(
    "CartPole-v1",
    "runs/smoke" if SMOKE else "runs/cartpole",
    model=Config(deter_dim=128, hidden_dim=128, groups=8, classes=8, reconstruction_weight=100.0),
    agent=DreamerConfig(),
    config=OnlineConfig(steps=120, prefill=100, train_ratio=64, eval_episodes=1) if SMOKE else OnlineConfig(steps=6000),
)
scores = dreamgym.evaluate(result.folder, episodes=EPISODES, seed=1000)
print(f"{result.steps:,} real steps, {result.updates:,} updates; dream: {scores['dream']['mean']:.1f}")
print(f"real return of a policy that was learned in imagination: {scores['real']['mean']:.1f}")
