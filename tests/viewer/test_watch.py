"""The grid of dreams: what differs between its rows and columns, and the video of it."""

import numpy as np
import pytest
import torch

from dreamgym.core.tree import leaves
from dreamgym.errors import InvalidArgument
from dreamgym.hub import load
from dreamgym.viewer.watch import Row, frames, watch
from dreamgym.viewer.worlds import DreamWorld

CART, CAR = "DreamCartPole-v0", "DreamCarRacing-v0"


def make_rows(name, temperatures, lanes=3):
    start = DreamWorld(load(name))
    start.reset(1)
    return [Row(start, lanes, temperature, seed=5) for temperature in temperatures]


def states(row):
    return torch.cat([leaf.flatten(1) for leaf in leaves(row.world.moment.state)], 1)  # [lanes, ...]


def test_all_dreams_begin_in_one_moment_and_each_has_a_future_of_its_own():
    rows = make_rows(CAR, (1.0, 1.0, 1.6))
    assert all(torch.equal(states(row)[i], states(rows[0])[0]) for row in rows for i in range(3))
    for row in rows:
        for _ in range(4):
            row.step(np.tile(np.float32([0.2, 0.5, 0]), (3, 1)))
    assert torch.equal(states(rows[0]), states(rows[1]))
    assert not torch.equal(states(rows[0]), states(rows[2]))
    assert not torch.equal(states(rows[0])[0], states(rows[0])[1])


def test_each_dream_has_its_own_action():
    (row,) = make_rows(CAR, (1.0,))
    for _ in range(6):
        row.step(np.float32([[-1, 0.5, 0], [1, 0.5, 0], [0, 0, 0.8]]))
    left, right, rest = (obs.astype(int) for obs in row.world.observations())
    assert abs(left - right).mean() > 3
    assert abs(left - rest).mean() > 3


def test_a_dream_that_is_over_earns_nothing_more():
    (row,) = make_rows(CART, (1.0,), lanes=2)
    while not row.over.all():
        row.step(np.array([0, 1]))
    earned = row.earned.copy()
    row.step(np.array([0, 1]))
    assert np.array_equal(row.earned, earned)
    assert (earned > 5).all()


def test_pictures_end_when_all_dreams_have_ended():
    rows = make_rows(CART, (1.0, 0.5), lanes=2)
    pictures = list(frames(load(CART), rows, "constant:0", steps=100, between=2))
    assert len({picture.shape for picture in pictures}) == 1
    assert len(pictures) < 2 * 40
    assert len(pictures) % 2 == 1  # two for each step, and the last
    assert pictures[0].dtype == np.uint8


def test_a_video_is_written_and_what_was_earned_is_told(tmp_path):
    earned = watch(CART, temperatures=(0.5, 1.0), lanes=2, steps=5, seed=3, video=tmp_path / "grid.mp4")
    assert np.allclose(earned, 5, atol=0.2)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size > 1000


@pytest.mark.parametrize("options", [{"temperatures": ()}, {"lanes": 0}, {"steps": 0}])
def test_nothing_to_show_is_refused(options):
    with pytest.raises(InvalidArgument, match="expected at least one of each"):
        watch(CART, **options)
