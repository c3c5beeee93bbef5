"""What counts episodes: autoreset, limits, endings, seeds, diverged lanes; one world says what each must be."""

from dataclasses import replace

import pytest
import torch
from gymnasium.vector import AutoresetMode
from oracle import BUTTONS, LEVER, PICTURES64, counting_starts, counting_world, seed_of

from dreamgym.core.codec import encode_action
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import clone, concatenate, gather, named_leaves
from dreamgym.envs.simulator import Simulator, join, parse_autoreset_mode
from dreamgym.errors import InvalidArgument, MissingHead

MODES = list(AutoresetMode)


def simulator(
    mode="NextStep", max_episode_steps=None, termination="draw", num_starts=8, action_space=BUTTONS, **config
):
    model = counting_world(action_space=action_space, **config)
    return Simulator(
        model,
        counting_starts(num_starts),
        autoreset_mode=mode,
        max_episode_steps=max_episode_steps,
        termination=termination,
    )


def press(*buttons):
    return encode_action(BUTTONS, torch.tensor(buttons))


def pull(*values):
    return torch.tensor(values)[:, None]


def leaves(tree):
    return named_leaves(tree)


def assert_same(a, b):
    a, b = leaves(a), leaves(b)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def run(sim, lanes, steps, button=1):
    """Return the lanes after some steps and the outcomes on the way."""
    outcomes = []
    for _ in range(steps):
        lanes, outcome = sim.step(lanes, press(*[button] * len(lanes.done)))
        outcomes.append(outcome)
    return lanes, outcomes


def test_a_reset_in_one_lane_leaves_the_others_bit_identical():
    sim = simulator(lengths=(0,))
    lanes, _ = run(sim, sim.begin(torch.tensor([3, 4, 5])), 3)
    after = sim.reset(lanes, torch.tensor([False, True, False]))
    others = torch.tensor([0, 2])
    assert_same(gather(after, others), gather(lanes, others))
    assert after.state.t.tolist() == [3, 0, 3]
    untouched, reset = run(sim, lanes, 5)[0], run(sim, after, 5)[0]
    assert_same(gather(untouched, others), gather(reset, others))


def test_a_step_and_a_reset_leave_the_lanes_that_they_were_given_equal():
    for mode in MODES:
        sim = simulator(mode, lengths=(2,), diverge_above=3.0, action_space=LEVER)
        lanes = sim.begin(torch.tensor([1, 2, 3]))
        for _ in range(6):
            before = clone(lanes)
            after, _ = sim.step(lanes, pull(0.0, 2.0, 1.0))
            assert_same(lanes, before)
            sim.reset(after, torch.tensor([True, False, True]))
            lanes = after


def test_two_simulators_on_one_model_do_not_interfere():
    model, starts = counting_world(lengths=(4,)), counting_starts()
    one, two = (Simulator(model, starts, autoreset_mode="SameStep") for _ in range(2))
    alone, _ = run(one, one.begin(torch.tensor([1, 2])), 9)
    a, b = one.begin(torch.tensor([1, 2])), two.begin(torch.tensor([8]))
    for _ in range(9):
        (a, _), (b, _) = one.step(a, press(1, 1)), two.step(b, press(2))
    assert_same(a, alone)


def test_one_simulator_serves_several_sets_of_lanes_in_turn():
    sim = simulator("SameStep", lengths=(4, 3))
    alone = [run(sim, sim.begin(torch.tensor([seed])), 20)[0] for seed in (1, 2)]
    a, b = sim.begin(torch.tensor([1])), sim.begin(torch.tensor([2]))
    for _ in range(20):
        (a, _), (b, _) = sim.step(a, press(1)), sim.step(b, press(1))
    assert_same(a, alone[0])
    assert_same(b, alone[1])


def test_episodes_begin_in_states_of_the_bank_and_resets_differ():
    sim, lanes = simulator(lengths=(0,)), None
    seen = []
    for _ in range(40):
        lanes = sim.begin(torch.tensor([0])) if lanes is None else sim.reset(lanes, torch.tensor([True]))
        assert lanes.state.t.item() == 0
        seen.append(lanes.state.start.item())
    assert set(seen) == set(range(8))


def test_neighbouring_seeds_begin_in_different_starts():
    starts = simulator().begin(torch.arange(800)).state.start
    assert (torch.bincount(starts.long(), minlength=8) > 60).all()


@pytest.mark.parametrize("seed", [0, 1, -1, 2**62])
def test_the_same_seed_dreams_the_same_dream_and_another_another(seed):
    sim = simulator("SameStep", lengths=(3, 4), hazard=0.2)
    one, two = (run(sim, sim.begin(torch.tensor([seed])), 30) for _ in range(2))
    assert_same(one[0], two[0])
    for a, b in zip(one[1], two[1], strict=True):
        assert_same(a.reward, b.reward)
    endless = simulator(lengths=(0,))
    walks = run(endless, endless.begin(torch.tensor([seed, seed + 1])), 3)[0].state.walk
    assert walks[0] != walks[1]


def test_the_time_limit_sets_only_truncated():
    sim = simulator("Disabled", max_episode_steps=3, lengths=(0,))
    _, outcomes = run(sim, sim.begin(torch.arange(4)), 3)
    assert [o.truncated.tolist() for o in outcomes] == [[False] * 4, [False] * 4, [True] * 4]
    assert not any(o.terminated.any() for o in outcomes)


def test_termination_sets_only_terminated():
    for termination in ("draw", "threshold"):
        sim = simulator("Disabled", max_episode_steps=9, lengths=(3,), termination=termination)
        _, outcomes = run(sim, sim.begin(torch.arange(4)), 3)
        assert [o.terminated.tolist() for o in outcomes] == [[False] * 4, [False] * 4, [True] * 4]
        assert not any(o.truncated.any() for o in outcomes)


def test_a_termination_at_the_time_limit_sets_both():
    sim = simulator("Disabled", max_episode_steps=3, lengths=(3,))
    _, outcomes = run(sim, sim.begin(torch.tensor([0])), 3)
    assert (outcomes[-1].terminated & outcomes[-1].truncated).all()


@pytest.mark.parametrize("mode", MODES)
def test_reward_and_action_name_the_step_at_which_they_were_given(mode):
    sim = simulator(mode, lengths=(0,))
    lanes = sim.begin(torch.tensor([0, 1, 2]))
    for t in range(1, 6):
        lanes, outcome = sim.step(lanes, press(t % 3, 0, 2))
        assert outcome.reward.tolist() == pytest.approx([t + t % 3 / 10, t, t + 0.2])
        assert lanes.state.t.tolist() == [t] * 3


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_the_memory_after_a_reset_equals_a_fresh_memory_exactly(mode):
    sim = simulator(mode, lengths=(2,))
    lanes = sim.begin(torch.tensor([seed_of([6, 1])]))
    lanes, _ = run(sim, lanes, 2 if mode == "SameStep" else 3, button=2)
    fresh = counting_starts().sample(torch.tensor([1.5 / 8]))
    assert_same(lanes.state, fresh)
    assert (lanes.elapsed.item(), lanes.done.item()) == (0, False)


def test_next_step_ignores_the_action_of_the_step_that_resets():
    sim = simulator("NextStep", lengths=(2,))
    lanes, _ = run(sim, sim.begin(torch.tensor([5])), 2)
    one, two = (sim.step(lanes, press(button)) for button in (0, 2))
    assert_same(one[0], two[0])
    for outcome in (one[1], two[1]):
        assert outcome.reward.item() == 0
        assert not (outcome.terminated | outcome.truncated | outcome.diverged).item()
        assert not any(value.any() for value in outcome.info.values())


def episodes(mode, seed=0, steps=60):
    """Return the walks of all steps that acted: a lane's dream without its autoreset mode."""
    sim = simulator(mode, lengths=(3, 4, 2), hazard=0.1, max_episode_steps=5)
    lanes, walks = sim.begin(torch.tensor([seed, seed + 1])), []
    for _ in range(steps):
        acted = ~lanes.done
        if mode == "Disabled" and lanes.done.any():
            lanes = sim.reset(lanes, lanes.done)
            acted = torch.ones_like(acted)
        lanes, outcome = sim.step(lanes, press(1, 1))
        state = lanes.state if outcome.final is None else outcome.final
        walks.append(torch.where(acted, state.walk, torch.nan))
    walks = torch.stack(walks)
    return [walk[~walk.isnan()] for walk in walks.T]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_lane_dreams_the_same_dream_in_every_autoreset_mode(mode):
    for ours, reference in zip(episodes(mode), episodes("Disabled"), strict=True):
        common = min(len(ours), len(reference))
        assert common > 30
        assert torch.equal(ours[:common], reference[:common])


@pytest.mark.parametrize("mode", MODES)
def test_a_lane_dreams_the_same_dream_whatever_the_number_of_lanes(mode):
    sim = simulator(mode, lengths=(0, 3), hazard=0.05, max_episode_steps=7)
    seed = torch.arange(64)
    many, _ = run(sim, sim.begin(seed), 30)
    for lanes in (1, 3):
        few, _ = run(sim, sim.begin(seed[10 : 10 + lanes]), 30)
        assert_same(few, gather(many, torch.arange(10, 10 + lanes)))


def test_lanes_of_the_2018_model_are_alike_within_rounding_whatever_their_number():
    from dreamgym.models.vae_mdn_rnn import Config, VaeMdnRnn

    torch.manual_seed(0)
    model = VaeMdnRnn(
        Config(latent_dim=4, hidden_dim=8, num_mixtures=3, channels=(2, 2, 2, 2)), PICTURES64, BUTTONS
    ).eval()
    states = type(model.initial(1))(torch.randn(9, 4), torch.randn(9, 8), torch.randn(9, 8))
    sim = Simulator(model, StartBank(states, torch.ones(9, dtype=torch.bool)), autoreset_mode="SameStep")
    with torch.no_grad():
        many, _ = run(sim, sim.begin(torch.arange(64)), 20)
        for lanes in (1, 3):
            few, _ = run(sim, sim.begin(torch.arange(lanes)), 20)
            for a, b in zip(leaves(few.state).values(), leaves(many.state).values(), strict=True):
                assert torch.allclose(a, b[:lanes], atol=1e-4)


def test_a_drawn_termination_happens_as_often_as_its_probability_says():
    for hazard in (0.05, 0.5):
        sim = simulator("SameStep", lengths=(0,), hazard=hazard)
        _, outcomes = run(sim, sim.begin(torch.arange(500)), 40)
        share = torch.stack([o.terminated for o in outcomes]).float().mean().item()
        assert share == pytest.approx(hazard, abs=0.01)
        assert all((o.info["termination"] == torch.tensor(hazard)).all() for o in outcomes)


def test_a_threshold_terminates_above_one_half_and_nowhere_else():
    for hazard, ends in ((0.5, False), (0.51, True)):
        sim = simulator("SameStep", lengths=(0,), hazard=hazard, termination="threshold")
        _, outcomes = run(sim, sim.begin(torch.arange(50)), 5)
        assert all((o.terminated == ends).all() for o in outcomes)


def test_the_ending_of_one_lane_is_drawn_apart_from_its_dynamics():
    calm, risky = (simulator("Disabled", lengths=(0,), hazard=hazard) for hazard in (0.0, 0.0001))
    a, b = (run(sim, sim.begin(torch.tensor([1])), 5)[0] for sim in (calm, risky))
    assert_same(a.state, b.state)


@pytest.mark.parametrize("mode", MODES)
def test_a_diverged_lane_is_truncated_reported_and_never_shown(mode):
    sim = simulator(mode, lengths=(0,), diverge_above=3.0, action_space=LEVER)
    lanes = sim.begin(torch.tensor([0, 1]))
    for step in range(1, 4):
        lanes, outcome = sim.step(lanes, pull(2.0, 0.0))
        shown = {
            **leaves(lanes.state),
            **leaves(outcome.final or lanes.state),
            **outcome.info,
            "reward": outcome.reward,
        }
        assert all(value.isfinite().all() for value in leaves(shown).values())
        assert not outcome.terminated.any()
        if step == 2:
            assert outcome.truncated.tolist() == outcome.diverged.tolist() == [True, False]
            assert outcome.reward.tolist() == [0.0, 2.0]
            last = lanes if outcome.final is None else None
            assert (outcome.final if last is None else last.state).total.tolist() == [2.0, 0.0]
        else:
            assert not outcome.diverged.any()
        if mode is AutoresetMode.DISABLED and lanes.done.any():
            assert lanes.done.tolist() == [True, False]
            lanes = sim.reset(lanes, lanes.done)
    assert lanes.state.t[1].item() == 3
    assert lanes.episode.tolist() == [1, 0]


def test_nothing_of_what_the_model_reports_of_a_diverged_lane_is_handed_on():
    class Reporting(type(counting_world())):
        def step(self, *args):
            out = super().step(*args)
            return type(out)(out.state, out.reward, out.termination, {"disagreement": out.state.total})

    model = Reporting(counting_world(diverge_above=1.0).config, counting_world().observation_space, LEVER)
    sim = Simulator(model, counting_starts())
    _, outcome = sim.step(sim.begin(torch.tensor([0, 1])), pull(2.0, 1.0))
    assert outcome.info["disagreement"].tolist() == [0.0, 1.0]


def test_a_reward_or_termination_that_is_not_finite_diverges_too():
    class Broken(type(counting_world())):
        def step(self, state, action, noise=None, temperature=1.0):
            out = super().step(state, action, noise, temperature)
            reward = torch.where(action[:, 0] > 0, torch.inf, out.reward)
            return type(out)(out.state, reward, torch.where(action[:, 0] < 0, torch.nan, out.termination))

    sim = Simulator(Broken(counting_world().config, counting_world().observation_space, LEVER), counting_starts())
    _, outcome = sim.step(sim.begin(torch.arange(3)), pull(1.0, 0.0, -1.0))
    assert outcome.diverged.tolist() == outcome.truncated.tolist() == [True, False, True]
    assert outcome.reward.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("mode", MODES)
def test_inactive_lanes_stay_as_they_are(mode):
    sim = simulator(mode, lengths=(2,), hazard=0.0)
    lanes = sim.begin(torch.tensor([1, 2, 3]))
    active = torch.tensor([True, False, True])
    for _ in range(4):
        after, outcome = sim.step(lanes, press(1, 1, 1), active)
        idle = torch.tensor([1])
        assert_same(gather(after, idle), gather(lanes, idle))
        for value in (outcome.reward, outcome.terminated, outcome.truncated, outcome.diverged):
            assert not value[1]
        lanes = after
    assert lanes.state.t[1] == 0
    full, _ = run(sim, sim.begin(torch.tensor([1, 2, 3])), 4)
    stepped = torch.tensor([0, 2])
    assert_same(gather(lanes, stepped), gather(full, stepped))


def test_a_lane_that_was_idle_dreams_on_as_if_it_had_never_been():
    sim = simulator("Disabled", lengths=(0,))
    lanes = sim.begin(torch.tensor([1, 2]))
    lanes, _ = sim.step(lanes, press(1, 1), torch.tensor([True, False]))
    lanes, _ = run(sim, lanes, 3)
    assert_same(gather(lanes, torch.tensor([1])), run(sim, sim.begin(torch.tensor([2])), 3)[0])


def test_disabled_leaves_an_ended_lane_where_it_is_until_its_reset():
    sim = simulator("Disabled", lengths=(2, 0))
    lanes = sim.begin(torch.tensor([seed_of([0, 1]), seed_of([1, 1])]))
    lanes, _ = run(sim, lanes, 2)
    assert lanes.done.tolist() == [True, False]
    waiting, outcomes = run(sim, lanes, 3)
    first = torch.tensor([0])
    assert_same(gather(waiting, first), gather(lanes, first))
    assert not any(o.terminated[0] or o.truncated[0] or o.reward[0] for o in outcomes)
    again = sim.reset(waiting, waiting.done)
    assert again.state.start.tolist() == [1, 1]
    assert again.state.t.tolist() == [0, 5]


def test_a_kept_moment_can_be_gone_back_to_any_number_of_times():
    sim = simulator("SameStep", lengths=(3, 5), hazard=0.1)
    moment, _ = run(sim, sim.begin(torch.arange(5)), 7)
    futures = [run(sim, moment, 9)[0] for _ in range(2)]
    assert_same(*futures)


def test_the_lanes_of_a_fork_share_the_present_and_differ_in_the_future():
    sim = simulator(lengths=(0,))
    lanes, _ = run(sim, sim.begin(torch.arange(3)), 4)
    fork = sim.fork(lanes, 2, torch.arange(100, 105))
    for lane in range(5):
        assert_same(gather(fork.state, torch.tensor([lane])), gather(lanes.state, torch.tensor([2])))
    assert fork.elapsed.tolist() == [4] * 5
    later, _ = run(sim, fork, 1)
    assert len(set(later.state.walk.tolist())) == 5
    assert later.state.t.tolist() == [5] * 5


def test_joined_lanes_dream_on_as_they_did_apart():
    sim = simulator("SameStep", lengths=(3,))
    a, b = run(sim, sim.begin(torch.tensor([1])), 4)[0], run(sim, sim.begin(torch.tensor([7, 8])), 2)[0]
    together, _ = run(sim, join([a, b]), 5)
    assert_same(together, concatenate([run(sim, a, 5)[0], run(sim, b, 5)[0]]))


@pytest.mark.parametrize("mode", MODES)
def test_an_autoreset_mode_is_named_by_value_name_or_member(mode):
    assert parse_autoreset_mode(mode) is parse_autoreset_mode(mode.value) is parse_autoreset_mode(mode.name) is mode


def test_unknown_options_are_refused_by_their_value():
    with pytest.raises(InvalidArgument, match=r"autoreset_mode is 'same'; expected one of 'NextStep', 'SameStep'"):
        simulator("same")
    with pytest.raises(InvalidArgument, match=r"termination is 'maybe'; expected 'draw', 'threshold' or 'never'"):
        simulator(termination="maybe")
    with pytest.raises(InvalidArgument, match=r"max_episode_steps is 0; expected at least 1, or None"):
        simulator(max_episode_steps=0)


@pytest.mark.parametrize("head", ["reward", "termination"])
def test_a_model_without_a_head_is_refused_by_name(head: str) -> None:
    class Headless(type(counting_world())):
        def step(self, *args, **kwargs):
            return replace(super().step(*args, **kwargs), **{head: None})

    model = Headless(counting_world().config, counting_world().observation_space, BUTTONS)
    simulator = Simulator(model, counting_starts())
    with pytest.raises(MissingHead, match=f"Headless.step gave no {head}; a dream needs one, and zeros are never made"):
        simulator.step(simulator.begin(torch.arange(3)), encode_action(BUTTONS, torch.zeros(3, dtype=torch.long)))
