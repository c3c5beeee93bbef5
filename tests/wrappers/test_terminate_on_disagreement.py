"""Endings where the members disagree: which steps, what they cost, what is left alone."""

import math

import pytest
import torch
from dreamgym.wrappers.temperature import Temperature
from dreamgym.wrappers.terminate_on_disagreement import TerminateOnDisagreement
from wrapped import Doubtful

from dreamgym.core.model import Transition
from dreamgym.envs.simulator import Simulator
from dreamgym.errors import InvalidArgument, MissingHead
from dreamgym.testing.counting import counting_starts, counting_world


def test_an_episode_ends_with_the_penalty_at_the_first_step_that_is_not_believed() -> None:
    model = TerminateOnDisagreement(Doubtful(counting_world(lengths=(0,))), threshold=2.5, penalty=7.0)
    simulator = Simulator(model, counting_starts())
    lanes, seen = simulator.begin(torch.arange(2)), []
    for _ in range(3):
        lanes, outcome = simulator.step(lanes, torch.eye(3)[[1, 0]])  # the sums are 1, 2, 3 and 0, 0, 0
        seen.append((outcome.reward.tolist(), outcome.terminated.tolist(), outcome.truncated.any().item()))
    assert [row[1] for row in seen] == [[False, False], [False, False], [True, False]]
    assert seen[1][0] == pytest.approx([2.1, 2.0])
    assert seen[2][0] == [-7.0, 3.0]
    assert not any(row[2] for row in seen)


def test_what_is_believed_is_left_as_it_is_and_so_is_the_state() -> None:
    inner = Doubtful(counting_world(hazard=0.25))
    model = TerminateOnDisagreement(inner, threshold=1.0)
    state, action, noise = counting_starts().sample(torch.rand(3)), torch.eye(3), torch.randn(3, 2)
    plain, out = inner.step(state, action, noise), model.step(state, action, noise)
    assert plain.info["disagreement"].tolist() == [0.0, 1.0, 2.0]
    assert torch.equal(out.reward, plain.reward * torch.tensor([1.0, 1.0, 0.0]))
    assert out.termination.tolist() == [0.25, 0.25, 1.0]
    assert torch.equal(out.state.walk, plain.state.walk)
    assert torch.equal(out.info["disagreement"], plain.info["disagreement"])


def test_a_reward_that_is_not_finite_stays_so_and_ranks_last() -> None:
    class Broken(Doubtful):
        def step(self, *args: object) -> Transition:  # type: ignore[override]
            out = super().step(*args)  # type: ignore[arg-type]
            return Transition(out.state, torch.tensor([math.nan, math.inf]), out.termination, out.info)

    model = TerminateOnDisagreement(Broken(counting_world()), 0.0)
    out = model.step(counting_starts().sample(torch.rand(2)), torch.eye(3)[[2, 2]])
    assert not out.reward.isfinite().any()


def test_a_model_that_never_doubts_is_refused_by_name_with_both_cures() -> None:
    model = TerminateOnDisagreement(Temperature(counting_world(), 2.0), 1.0)
    cures = r"CountingWorld\.step reports no 'disagreement'.*--model\.reward-members.*--model\.num-members"
    with pytest.raises(MissingHead, match=cures):
        model.step(counting_starts().sample(torch.rand(1)), torch.eye(3)[:1])


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["threshold", "penalty"])
def test_a_number_that_cannot_be_meant_is_refused(name: str, bad: float) -> None:
    with pytest.raises(InvalidArgument, match=f"{name} is {bad}; expected a finite number of at least 0"):
        TerminateOnDisagreement(counting_world(), **{"threshold": 1.0, name: bad})
