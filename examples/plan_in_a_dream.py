"""Swing up the real pendulum without any policy: plan in its dream at every step, do the first action, plan again.

    python examples/plan_in_a_dream.py            # about a minute on one core
    python examples/plan_in_a_dream.py --smoke    # seconds

Prints what each episode earned and how long a plan takes; the last number is the mean real return (random actions earn
about -1200, the policy that ships with the dream -150).
"""

import sys

import torch

import dreamgym
from dreamgym.planners.mpc import ModelPredictiveControl
from dreamgym.planners.shooting import Cem, CemConfig

SMOKE = "--smoke" in sys.argv
EPISODES, STEPS = (1, 10) if SMOKE else (5, 200)

torch.set_num_threads(1)
dream = dreamgym.load("DreamPendulum-v0")
env = dreamgym.make_real("DreamPendulum-v0", observation="features")  # it follows the real env with the dream's model

# 15 steps ahead, three rounds of 100 candidates, each round drawn like the 10 best of the one before.
planner = Cem(CemConfig(horizon=15, num_candidates=100, num_elites=10, num_iterations=3))
control = ModelPredictiveControl(dream.model, planner)

returns = []
for episode in range(EPISODES):
    env.reset(seed=1000 + episode)
    control.reset([episode])
    returns.append(0.0)
    for _ in range(STEPS):
        action = control.act_on(env.state)[0]  # one lane: the model's state of this moment
        _, reward, terminated, truncated, _ = env.step(action)
        returns[-1] += float(reward)
    print(f"episode {episode}: {returns[-1]:.0f}; expected for the next steps: {control.plan.value.item():.1f}")
env.close()

pace = control.imagined / control.seconds
print(f"{1000 * control.seconds / control.decisions:.0f} ms a plan, {pace:,.0f} imagined steps a second")
print(f"mean real return of planning in the dream: {sum(returns) / EPISODES:.1f}")
