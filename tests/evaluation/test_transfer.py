"""A score says what the episodes were: seeds, ends, limits and sides."""

import numpy as np
import pytest
import torch
from oracle import counting_dream
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym import load
from dreamgym.core.policy import load_policy
from dreamgym.errors import InvalidArgument, PolicyMismatch, UnknownName
from dreamgym.evaluation.policies import ConstantActor, RandomActor
from dreamgym.evaluation.transfer import dream_episodes, evaluate, real_episode, summarize
from dreamgym.real.dodge import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny")


@pytest.fixture(scope="module")
def policy(folder):
    return save_tiny_policy(folder.parent / "policy.safetensors", folder)


def test_a_dreamed_return_is_the_sum_of_what_its_steps_earned():
    dream = counting_dream(lengths=(3, 5, 4, 6), max_episode_steps=100)  # starts 0, 2, 4, 6 open episodes
    outcomes = dream_episodes(dream, ConstantActor(np.array(2)), range(16))
    by_length = {3: 1 + 2 + 3 + 3 * 0.2, 4: 1 + 2 + 3 + 4 + 4 * 0.2}
    assert {outcome.length for outcome in outcomes} == {3, 4}
    assert all(outcome.terminated for outcome in outcomes)
    assert [outcome.total_reward for outcome in outcomes] == pytest.approx([by_length[o.length] for o in outcomes])


def test_a_dreamed_episode_that_the_time_limit_ends_has_not_terminated():
    outcomes = dream_episodes(counting_dream(lengths=(0,), max_episode_steps=7), ConstantActor(np.array(0)), range(3))
    assert [(o.total_reward, o.length, o.terminated) for o in outcomes] == [(28.0, 7, False)] * 3


def test_a_dream_without_a_time_limit_is_refused():
    with pytest.raises(InvalidArgument, match="Counting has no time limit; give its card max_episode_steps"):
        evaluate(counting_dream(), "random", side="dream", episodes=2)


@pytest.mark.parametrize("spec", ["constant:1", "random"])
def test_a_real_return_is_that_of_the_game(folder, spec):
    figures = evaluate(folder, spec, side="real", episodes=4, seed=70)["real"]
    returns, lengths = [], []
    for seed in range(70, 74):
        env, total, length, ended = make(), 0.0, 0, False
        env.reset(seed=seed)
        env.action_space.seed(seed)
        while not ended:
            _, reward, terminated, truncated, _ = env.step(1 if spec == "constant:1" else env.action_space.sample())
            total, length, ended = total + reward, length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
    assert figures["returns"] == returns
    assert figures["lengths"] == lengths


@pytest.mark.parametrize("side", ["real", "dream"])
@pytest.mark.parametrize("spec", ["random", "policy"])
def test_episode_i_is_seeded_with_the_seed_plus_i(folder, policy, side, spec):
    spec = policy if spec == "policy" else spec
    together = evaluate(folder, spec, side=side, episodes=4, seed=10)[side]
    late = evaluate(folder, spec, side=side, episodes=2, seed=12)[side]
    assert late["lengths"] == together["lengths"][2:]
    assert late["returns"] == pytest.approx(together["returns"][2:], abs=1e-5)  # lanes round differently together
    again = evaluate(folder, spec, side=side, episodes=4, seed=10)[side]
    assert again == together
    assert evaluate(folder, spec, side=side, episodes=4, seed=90)[side]["returns"] != together["returns"]


def test_both_sides_hold_the_figures_that_one_side_alone_has(folder):
    both = evaluate(folder, "random", episodes=3)
    assert both == {**evaluate(folder, "random", side="real", episodes=3),
                    **evaluate(folder, "random", side="dream", episodes=3)}  # fmt: skip
    assert list(both) == ["real", "dream"]


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(folder, policy):
    alone = evaluate(folder, policy, side="real", episodes=3)
    assert evaluate(load(folder), load_policy(policy), side="real", episodes=3, num_workers=2) == alone


def test_evaluation_leaves_the_threads_as_they_were(folder):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        evaluate(folder, "random", episodes=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_figures_of_three_episodes():
    outcomes = dream_episodes(counting_dream(lengths=(2,), max_episode_steps=100), ConstantActor(np.array(0)), range(3))
    assert summarize(outcomes) == {
        "mean": 3.0, "std": 0.0, "min": 3.0, "max": 3.0, "episodes": 3,
        "reward_per_decision": 1.5, "ended": 1.0, "returns": [3.0] * 3, "lengths": [2] * 3,
    }  # fmt: skip


def test_the_time_limit_is_the_cards(tmp_path):
    short = save_tiny_dream(tmp_path / "short", max_episode_steps=2)
    figures = evaluate(short, "constant:0", side="dream", episodes=20)["dream"]
    assert max(figures["lengths"]) == 2
    assert figures["ended"] < 1


def test_random_actions_depend_on_the_episodes_seed_alone():
    space = counting_dream().model.action_space
    together, alone = RandomActor(space), RandomActor(space)
    together.reset([3, 4, 5])
    alone.reset([4])
    features = torch.zeros(3, 4)
    acts = [together.act(features).tolist() for _ in range(30)]
    assert [row[1] for row in acts] == [alone.act(features[:1])[0] for _ in range(30)]
    assert any(row[0] != row[1] for row in acts)


def test_a_real_episode_stops_at_its_end(folder):
    from dreamgym import make_real

    outcome = real_episode(make_real(folder, observation="features"), ConstantActor(np.array(0)), seed=0)
    assert outcome.terminated
    assert outcome.total_reward == outcome.length - 1  # a hit pays nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": "imagined"}, "side is 'imagined'; expected one of 'both', 'real', 'dream'"),
        ({"episodes": 0}, "episodes is 0; expected at least 1"),
        ({"num_workers": 0}, "num_workers is 0; expected at least 1"),
        ({"seed": -3}, "seed is -3; expected at least 0"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(folder, options, message):
    with pytest.raises(InvalidArgument, match=message):
        evaluate(folder, "random", **options)


def test_a_policy_of_another_dream_is_refused_before_an_episode_begins(folder, policy, tmp_path):
    other = save_tiny_dream(tmp_path / "other", seed=1)
    with pytest.raises(PolicyMismatch, match="trained in tiny with weights .*; other has weights .* Train it in this"):
        evaluate(other, policy, side="real")
    with pytest.raises(PolicyMismatch, match="other has weights"):
        evaluate(other, load_policy(policy), side="real")


def test_an_unknown_dream_is_named(tmp_path):
    with pytest.raises(UnknownName, match="unknown dream 'DreamDogde-v0'"):
        evaluate("DreamDogde-v0")
