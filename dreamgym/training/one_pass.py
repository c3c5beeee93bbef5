"""Training without an optimiser: every recorded transition is shown to the model once."""

from __future__ import annotations

import torch

from dreamgym.core.model import OnePass
from dreamgym.data.episodes import Dataset
from dreamgym.data.sequences import SequenceSampler
from dreamgym.errors import InvalidDataset

_TRANSITIONS = 4096
"""Shown at once."""


@torch.no_grad()
def learn_in_one_pass(model: OnePass, train: Dataset, held_out: Dataset) -> dict[str, float]:
    """Let a model learn from every transition of `train`, in order, and return how well it knows those of `held_out`.

    Returns:
        The means of what `model.measure` says; none without held-out episodes.

    Raises:
        InvalidDataset: if there is nothing to learn from.
    """
    if not len(train):
        raise InvalidDataset(f"all {len(held_out)} episodes are held out; record more, or lower holdout.")
    for batch in SequenceSampler(train, 1, _TRANSITIONS).in_order():
        model.learn(batch)
    if not len(held_out):
        return {}
    measured = [model.measure(batch) for batch in SequenceSampler(held_out, 1, _TRANSITIONS).in_order()]
    return {name: float(torch.cat([figures[name] for figures in measured]).mean()) for name in measured[0]}
