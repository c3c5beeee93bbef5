"""Candidates of discrete actions come as often as the proposal says, and are those of the plain categorical."""

import torch

from dreamgym.core.sampling import sample_categorical
from dreamgym.planners.proposal import Categorical


def test_candidates_of_discrete_actions_are_drawn_like_any_categorical():
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(2, 3, 4, generator=generator)  # [B, H, A]
    probs[0, 0, 1], probs[1, 2, :3] = 0, 0  # some actions never
    probs = probs / probs.sum(2, keepdim=True)
    noise = torch.randn(2, 5000, 3, 1, generator=generator)
    actions = Categorical(probs, 0.0).sample(noise)  # [B, N, H, A]
    logits = probs.log()[:, None].expand(-1, 5000, -1, -1).flatten(0, 1)
    plain = sample_categorical(logits, noise.flatten(0, 1).squeeze(2)).view_as(actions)
    assert (actions != plain).any(3).sum() <= 2  # by rounding at an edge
    assert torch.equal(actions.sum(3), torch.ones(2, 5000, 3))
    assert actions.unique().tolist() == [0, 1]
    assert (actions.mean(1) - probs).abs().max() < 0.03
