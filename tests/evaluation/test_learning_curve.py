"""The picture of a policy's training."""

import sys

import pytest

from dreamgym.errors import MissingExtra
from dreamgym.evaluation.learning_curve import draw_curve

POINTS = [(1000, 3.0), (2000, 9.5)]


def test_the_curve_is_a_picture_in_a_new_folder(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    path = draw_curve(POINTS, {"random": 2.0, "trained": 8.0}, tmp_path / "new" / "curve.png")
    picture = image.imread(path)
    assert picture.shape[:2] == (675, 1200)
    assert picture[..., :3].std() > 0.05
    assert list(path.parent.iterdir()) == [path]


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r'a plot needs matplotlib: pip install "dreamgym\[plots\]"'):
        draw_curve(POINTS, {}, tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())
