"""Spaces survive JSON."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from dreamgym.core.spaces import is_image, space_from_json, space_to_json
from dreamgym.errors import ForeignDream, UnsupportedSpace

SPACES = [
    spaces.Box(0, 255, (64, 64, 3), np.uint8),
    spaces.Box(-np.inf, np.inf, (7,), np.float32),
    spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, np.inf]), dtype=np.float32),
    spaces.Box(-0.1, 0.3, (2, 3), np.float64),
    spaces.Box(-5, 5, (), np.float32),
    spaces.Box(np.array([[0, 1], [2, 3]]), np.array([[10, 11], [12, 13]]), dtype=np.int64),
    spaces.Box(0, 1, (0,), np.float32),
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 255, (4, 4, 1), np.uint8)}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_json(space):
    again = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert again == space
    assert again.dtype == space.dtype


def test_the_json_of_a_picture_space_is_short():
    assert len(json.dumps(space_to_json(SPACES[0]))) < 120


def test_only_uint8_boxes_of_three_dimensions_are_pictures():
    assert [is_image(space) for space in SPACES] == [True] + [False] * (len(SPACES) - 1)
    assert not is_image(spaces.Box(0, 1, (4, 4, 3), np.float32))


def test_other_spaces_are_refused_by_name():
    with pytest.raises(UnsupportedSpace, match=r"space MultiDiscrete\(\[2 3\]\) is not supported; expected a Box"):
        space_to_json(spaces.MultiDiscrete([2, 3]))
    with pytest.raises(ForeignDream, match="a space of type 'Text' is described; expected 'Box', 'Discrete' or 'Dict'"):
        space_from_json({"type": "Text"})
