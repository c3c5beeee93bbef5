"""Probes: policies so simple that everybody knows what they must score; a dream that pays them more has a hole."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.twin import real_module
from dreamgym.errors import DreamgymError
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import LoadedDream


def probes(dream: Model, *, variant: str | None = None, **options: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what each probe scores in a dream and in its real twin: probe -> what `evaluate` returns.

    Args:
        dream: as for `evaluate`.
        variant: which of a registered dream's variants.
        **options: of `evaluate`: episodes, seed, num_workers, side, progress.
    """
    named = probe_policies(open_dream(dream, variant, (), "cpu"))
    return {name: evaluate(dream, spec, variant=variant, **options) for name, spec in named.items()}


def probe_policies(dream: LoadedDream) -> dict[str, str]:
    """Return the probes of a dream by name: the `PROBES` of the module of its real twin, random, and its own policy.

    A twin that is not installed has no module to ask.
    """
    try:
        known = getattr(real_module(dream), "PROBES", {})
    except (gym.error.Error, DreamgymError, ImportError):
        known = {}
    named = {**known, "random": "random"}
    if dream.ships_policy:
        named["shipped"] = "shipped"
    return named
