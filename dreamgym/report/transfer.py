"""What policies earn in a dream and in the real env, each dream beginning in the real episode's own first situation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from dreamgym.core.filter import observe_real
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.twin import make_real
from dreamgym.evaluation.policies import PolicyLike, make_policy
from dreamgym.evaluation.transfer import dream_episodes, evaluate
from dreamgym.report.statistics import correlation, ratio


def play(
    dream: Model,
    policies: Mapping[str, PolicyLike],
    *,
    episodes: int,
    seed: int,
    variant: str | None = None,
    num_workers: int = 1,
    real: bool = True,
) -> dict[str, dict[str, list[float]]]:
    """Return each policy's returns: policy -> `{"dream": [E], "real": [E]}`, episode beside episode.

    Args:
        dream: as for `evaluate`.
        policies: by name.
        episodes: E.
        seed: of the first episode, on both sides.
        variant: which of a registered dream's variants.
        num_workers: processes that play real episodes.
        real: whether there is a real env; without one, dreams begin where recorded episodes began.
    """
    opened = open_dream(dream, variant, (), "cpu")
    seeds = range(seed, seed + episodes)
    first = first_states(dream, variant, seeds) if real else None
    found = {}
    for name, policy in policies.items():
        dreamed = dream_episodes(dream, make_policy(policy, opened), seeds, variant, first)
        found[name] = {"dream": [outcome.total_reward for outcome in dreamed]}
        if real:
            scored = evaluate(
                dream, policy, side="real", episodes=episodes, seed=seed, variant=variant, num_workers=num_workers
            )
            found[name]["real"] = scored["real"]["returns"]
    return found


def first_states(dream: Model, variant: str | None, seeds: Sequence[int]) -> Any:
    """Return the model's states, one lane a seed, after the first observation of real episodes."""
    with closing(make_real(dream, variant=variant)) as env:
        shown = [env.reset(seed=int(seed))[0] for seed in seeds]
    return observe_real(open_dream(dream, variant, (), "cpu").model, None, shown)


def transfer_figures(returns: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Return how well returns in a dream foretell real ones.

    Args:
        returns: what `play` returned.

    Returns:
        `policies`, a row for each, the best in the dream first, with its mean `dream` and `real` return and their
        `gap`; and, if there are real returns, `spearman`, `pearson`; `range`, of the mean real returns; `score_error`,
        the mean distance of the two, as a share of it; `best`, the policy that the dream likes best, with the `gap`,
        `gap_share`, the same as a share of the range, and the `regret`: what the best in reality earns more, likewise.
    """
    rows = []
    for name, sides in returns.items():
        row: dict[str, Any] = {"name": name, **{side: ratio(np.array(values)) for side, values in sides.items()}}
        if "real" in sides:
            row["gap"] = ratio(np.array(sides["dream"]) - np.array(sides["real"]))
        rows.append(row)
    rows.sort(key=lambda row: -row["dream"]["value"])
    figures: dict[str, Any] = {"episodes": len(next(iter(returns.values()))["dream"]), "policies": rows}
    if "real" not in rows[0]:
        return figures
    dream, real = (np.array([sides[side] for sides in returns.values()]) for side in ("dream", "real"))
    means = np.array([row["real"]["value"] for row in rows])
    span = float(np.ptp(means))
    of_range = lambda x: float(x / span) if span > 1e-9 else float("nan")  # noqa: E731
    return {
        **figures,
        **correlation(dream, real),
        "range": span,
        "score_error": of_range(np.mean([abs(row["gap"]["value"]) for row in rows])),
        "best": {
            "name": rows[0]["name"],
            "gap": rows[0]["gap"],
            "gap_share": of_range(rows[0]["gap"]["value"]),
            "regret": of_range(means.max() - means[0]),
        },
    }
