"""Evolve the linear controller of the 2018 paper inside a dream with CMA-ES, and score it in the real environment.

    python examples/evolve_a_controller.py            # two minutes on one core
    python examples/evolve_a_controller.py --smoke    # seconds

Prints the best and mean dreamed return of each generation, then the real score: its mean is the last number.
"""

import sys

import torch

import dreamgym
from dreamgym.agents.evolution import evolve

SMOKE = "--smoke" in sys.argv
DREAM = "DreamDodge-v0"
SIZES = (
    {"generations": 2, "population": 4, "rollouts": 2, "horizon": 10}
    if SMOKE
    else {"generations": 30, "population": 32, "rollouts": 16, "horizon": 200}
)

torch.set_num_threads(1)  # small batches are slower with more
dream = dreamgym.load(DREAM)
# Every candidate dreams the same dreams: all differences between their returns are their own.
policy, _ = evolve(
    dream,
    **SIZES,
    progress=lambda row: print(f"generation {row.generation:2d}: best {row.best:6.1f}, mean {row.mean:6.1f}"),
)
real = dreamgym.evaluate(dream, policy, side="real", episodes=2 if SMOKE else 20, seed=1000)["real"]
print(
    f"{policy.num_weights()} evolved weights; real return +- {real['std']:.1f} over {real['episodes']} episodes:",
    end=" ",
)
print(f"{real['mean']:.1f}")
