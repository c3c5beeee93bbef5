"""A temperature for each episode: how it is drawn, how long it is kept, whom it leaves alone."""

import math
from typing import Any

import pytest
import torch
from dreamgym.wrappers.random_temperature import RandomTemperature

from dreamgym.core.tree import gather
from dreamgym.core.wrapper import begin
from dreamgym.envs.open import open_dream
from dreamgym.envs.simulator import Lanes, Simulator
from dreamgym.errors import InvalidTemperature
from dreamgym.testing.counting import counting_dream, counting_starts, counting_world

WRAP = [("random_temperature", {"low": 0.25, "high": 4.0})]


def simulator(mode: str = "NextStep", **kwargs: Any) -> Simulator[Any]:
    dream = open_dream(counting_dream(**kwargs), None, WRAP, "cpu")
    return Simulator(dream.model, dream.starts, autoreset_mode=mode)


def press(lanes: int) -> torch.Tensor:
    return torch.eye(3)[[0] * lanes]


def run(sim: Simulator[Any], lanes: Lanes[Any], steps: int) -> tuple[Lanes[Any], torch.Tensor]:
    """Return the lanes after some steps, and `[steps, B]` the temperatures on the way, 0 at a reset."""
    seen = []
    for _ in range(steps):
        lanes, outcome = sim.step(lanes, press(len(lanes.done)))
        seen.append(outcome.info["temperature"])
    return lanes, torch.stack(seen)


def test_the_logarithm_is_uniform_over_the_range() -> None:
    sim = simulator()
    _, seen = run(sim, sim.begin(torch.arange(20_000)), 1)
    share = seen.log2() / 4 + 0.5  # 0 at a quarter, 1 at four
    assert 0 <= share.min() < 0.001 < 0.999 < share.max() <= 1
    assert torch.quantile(share, torch.tensor([0.1, 0.5, 0.9])).tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.015)


def test_the_dream_is_at_the_temperature_that_it_tells() -> None:
    model = RandomTemperature(counting_world(), 4.0, 4.0)
    state = begin(model, model.model, counting_starts().sample(torch.zeros(2)))
    noise = torch.tensor([[1.0, 0.0, 0.3], [1.0, 0.0, -2.0]])
    out = model.step(state, press(2), noise)
    assert out.state.inner.walk.tolist() == [2.0, 2.0]
    assert out.info["temperature"].tolist() == [4.0, 4.0]
    out = model.step(state, press(2), noise, 2.25)
    assert out.state.inner.walk.tolist() == [3.0, 3.0]
    assert out.info["temperature"].tolist() == [9.0, 9.0]
    assert out.state.temperature.tolist() == [[4.0], [4.0]]  # the caller's is the caller's


def test_it_is_kept_through_an_episode_and_drawn_anew_for_the_next() -> None:
    sim = simulator(lengths=(3,))
    _, seen = run(sim, sim.begin(torch.arange(16)), 12)
    first, second = seen[:3], seen[4:7]
    assert (seen[3] == 0).all()  # NextStep: the step that resets dreams nothing
    assert (first == first[0]).all()
    assert (second == second[0]).all()
    assert (first[0] != second[0]).all()
    assert len(first[0].unique()) == 16


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_reset_of_one_lane_leaves_the_others_temperature_bit_identical(mode: str) -> None:
    sim = simulator(mode, lengths=(0,))
    lanes, before = run(sim, sim.begin(torch.arange(3)), 2)
    mixed = sim.reset(lanes, torch.tensor([False, True, False]))
    after = run(sim, mixed, 3)[1]
    undisturbed = run(sim, lanes, 3)[1]
    assert torch.equal(after[:, [0, 2]], undisturbed[:, [0, 2]])
    assert torch.equal(after[0, [0, 2]], before[0, [0, 2]])
    assert (after[:, 1] != before[0, 1]).all()


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_seed_draws_the_same_temperatures_in_every_mode_and_another_others(seed: int) -> None:
    def temperatures(seed: int, mode: str) -> list[float]:
        sim = simulator(mode, lengths=(3,))
        lanes, seen = sim.begin(torch.tensor([seed])), []
        for _ in range(16):
            lanes, outcome = sim.step(lanes, press(1))
            seen += outcome.info["temperature"].tolist()
            if mode == "Disabled" and lanes.done.any():
                lanes = sim.reset(lanes, lanes.done)
        return [x for x in seen if x > 0][:9]

    ours = temperatures(seed, "NextStep")
    assert len(set(ours)) == 3
    assert ours == temperatures(seed, "SameStep") == temperatures(seed, "Disabled")
    assert not set(ours) & set(temperatures(seed + 1, "NextStep"))


def test_lanes_of_a_fork_share_a_temperature_that_was_drawn_and_else_draw_their_own() -> None:
    sim = simulator(lengths=(0,))
    lanes = sim.begin(torch.tensor([3]))
    assert len(run(sim, sim.fork(lanes, 0, torch.arange(8)), 1)[1].unique()) == 8
    lanes, seen = run(sim, lanes, 1)
    assert run(sim, sim.fork(lanes, 0, torch.arange(8)), 2)[1].unique().tolist() == seen[0].tolist()


def test_a_dream_that_follows_something_real_draws_anew() -> None:
    model = RandomTemperature(counting_world(), 0.5, 2.0)
    state = model.initial(2)
    obs, later = torch.zeros(2, 4), torch.zeros(2, dtype=torch.bool)
    out = model.step(state, press(2), torch.zeros(2, 3))
    assert (out.state.temperature > 0).all()
    assert (model.observe(out.state, press(2), obs, later).temperature == 0).all()


def test_without_noise_each_lane_draws_from_torchs_generator() -> None:
    model = RandomTemperature(counting_world(), 0.5, 2.0)
    drawn = model.step(model.initial(8), press(8)).info["temperature"]
    assert len(drawn.unique()) == 8
    assert ((drawn >= 0.5) & (drawn <= 2.0)).all()


def test_a_compact_bank_hands_on_temperatures_in_full_precision() -> None:
    sim = simulator(lengths=(0,))
    assert sim.starts.states.inner.walk.dtype == torch.float16
    lanes, seen = run(sim, sim.begin(torch.arange(4)), 1)
    assert lanes.state.inner.walk.dtype == lanes.state.temperature.dtype == torch.float32
    assert torch.equal(lanes.state.temperature[:, 0], seen[0])
    kept = gather(lanes, torch.tensor([2]))
    assert torch.equal(run(sim, kept, 1)[1][0], seen[0, 2:3])


@pytest.mark.parametrize("range_", [(0, 1), (1, math.inf), (math.nan, 1), (1, "hot")])
def test_a_bad_temperature_is_refused_by_its_value(range_: tuple[Any, Any]) -> None:
    bad = next(x for x in range_ if x != 1)
    with pytest.raises(InvalidTemperature, match=f"temperature is {bad!r}; expected a number above 0"):
        RandomTemperature(counting_world(), *range_)


def test_a_range_that_falls_is_refused_by_its_ends() -> None:
    with pytest.raises(InvalidTemperature, match=r"low is 1\.5 and high 0\.5; expected low to be at most high"):
        RandomTemperature(counting_world(), 1.5, 0.5)
