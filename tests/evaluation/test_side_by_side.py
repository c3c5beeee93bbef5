"""The video shows one policy twice, from one real moment."""

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from oracle import counting_dream
from tiny import dodge_episode, save_tiny_dream

from dreamgym import load, make_real, save_dream
from dreamgym.core.starts import make_start_bank
from dreamgym.errors import MissingExtra, NotDecodable
from dreamgym.evaluation.side_by_side import BAR, MARGIN, PANEL, Side, draw, play_both
from dreamgym.models.vae_mdn_rnn import VaeMdnRnn

LEFT = "constant:1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained dream that never ends before its 40 decisions and whose pictures differ from state to state."""
    tiny = load(save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny"))
    config = replace(tiny.model.config, ending_weight=1e9)
    model = VaeMdnRnn(config, tiny.model.observation_space, tiny.model.action_space).eval()
    model.load_state_dict({k: v * 4 if v.ndim == 4 else v for k, v in tiny.model.state_dict().items()})
    episodes = [dodge_episode(seed) for seed in range(3)]
    return save_dream(tiny.folder.with_name("vivid"), model, make_start_bank(model, episodes, 12), tiny.card)


def side(pictures: int = 3, ending: str = "terminated", seed: int = 0) -> Side:
    rng = np.random.default_rng(seed)
    return Side(
        "real  Some-v0", list(rng.integers(0, 256, (pictures, 64, 64, 3), np.uint8)), list(range(pictures)), ending
    )


def test_the_dream_begins_in_the_moment_that_the_policy_reached_in_the_real_env(folder):
    real, dream = play_both(folder, LEFT, seed=3, warm_up=5, decisions=4)
    env = make_real(folder, observation="both")
    obs, _ = env.reset(seed=3)
    for _ in range(5):
        obs, *_ = env.step(1)
    assert (real.pictures[0] == obs["pixels"]).all()
    with torch.no_grad():
        decoded = load(folder).model.decode(env.state)[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).numpy()
    assert (dream.pictures[0] == decoded).all()
    assert (play_both(folder, LEFT, seed=3, warm_up=15, decisions=1)[1].pictures[0] != decoded).any()


def test_the_real_side_is_the_game_after_that_moment(folder):
    real, _ = play_both(folder, LEFT, seed=3, warm_up=5, decisions=4)
    env = make_real(folder)
    env.reset(seed=3)
    for _ in range(5):
        env.step(1)
    for picture, (before, after) in zip(real.pictures[1:], pairwise(real.returns), strict=True):
        obs, reward, *_ = env.step(1)
        assert (picture == obs).all()
        assert after - before == reward


def test_an_episode_that_ends_before_the_moment_is_shown_from_its_beginning(folder):
    real, dream = play_both(folder, "constant:0", seed=0, warm_up=299)
    assert real.ending == "terminated"
    assert (real.pictures[0] == make_real(folder).reset(seed=0)[0]).all()
    assert real.returns[-1] == len(real.pictures) - 2  # a hit pays nothing
    assert len(dream.pictures) == 41


def test_the_time_limit_of_the_dream_counts_from_the_beginning_of_the_real_episode(folder):
    for warm_up in (0, 5):
        _, dream = play_both(folder, LEFT, seed=3, warm_up=warm_up)
        assert (dream.ending, len(dream.pictures)) == ("truncated", 41 - warm_up)


def test_observations_that_are_no_pictures_are_refused():
    with pytest.raises(NotDecodable, match="the observations of Counting are no pictures"):
        play_both(counting_dream(), "random")


def test_every_pixel_of_a_picture_becomes_a_square_of_its_colour():
    first = next(draw([side(seed=0), side(seed=1)], fps=2))
    for i in range(2):
        left = MARGIN + i * (PANEL + MARGIN)
        panel = first[BAR : BAR + PANEL, left : left + PANEL]
        assert (panel == side(seed=i).pictures[0].repeat(6, 0).repeat(6, 1)).all()


def test_a_side_that_is_over_waits_dimmed_for_the_other_one():
    frames = list(draw([side(3), side(9, "truncated")], fps=4))
    assert len(frames) == 9 + 4  # a second more
    corner = (slice(BAR, BAR + 100), slice(MARGIN, MARGIN + 100))  # beside the words
    last = side(3).pictures[-1].repeat(6, 0).repeat(6, 1)[:100, :100]
    assert (frames[4][corner] == last).all()
    assert (frames[5][corner] == last // 3).all()
    assert (
        frames[-1][BAR : BAR + PANEL, -MARGIN - PANEL : -MARGIN] == side(9).pictures[-1].repeat(6, 0).repeat(6, 1)
    ).all()


def test_without_pillow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r'a video needs Pillow: pip install "dreamgym\[video\]"'):
        next(draw([side()], fps=5))
