"""Nothing in the window overlaps, whatever its size."""

from itertools import combinations

import pytest

from dreamgym.viewer.layout import NAMES, SMALLEST, arrange, magnify, natural_scale

SIZES = [(480, 360), (500, 900), (640, 480), (800, 600), (1000, 1000), (1280, 800), (1366, 700), (1920, 360)]
SIZES += [(2560, 1600), (3840, 2160)]
SQUARE, WIDE, TALL = (64, 64), (600, 400), (160, 210)


def overlap(one, other):
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("scale", [None, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("panes", [1, 2, 4])
@pytest.mark.parametrize("picture", [SQUARE, WIDE, TALL], ids=str)
def test_nothing_overlaps_or_leaves_the_window(size, scale, panes, picture):
    layout = arrange(size, [picture] * panes, NAMES, scale)
    rects = list(layout.rects())
    for rect in (*rects, layout.panel):
        assert rect.width > 0
        assert rect.height > 0
        assert rect.left >= 0
        assert rect.top >= 0
        assert rect.right <= size[0]
        assert rect.bottom <= size[1]
    assert not [pair for pair in combinations(rects, 2) if overlap(*pair)]
    assert len(layout.places) == panes
    assert not any(overlap(layout.panel, part) for place in layout.places for part in place)
    for rect in layout.widgets.values():
        assert rect.left >= layout.panel.left


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("panes", [1, 2, 4])
def test_a_picture_is_magnified_by_a_whole_number_where_that_fills_most_of_the_room(size, panes):
    for place in arrange(size, [SQUARE] * panes).places:
        assert place.picture.width == place.picture.height
        if place.picture.width >= 3 * 64:
            assert place.picture.width % 64 == 0


@pytest.mark.parametrize("room", [(n, n) for n in range(20, 400, 7)], ids=str)
def test_magnification_fills_three_quarters_of_the_room_and_no_more_than_all(room):
    width, height = magnify(SQUARE, room)
    assert 0.75 * room[0] - 1 <= width <= room[0]
    assert width == height


def test_pictures_keep_their_proportions():
    for picture in (WIDE, TALL):
        (place,) = arrange((1280, 800), [picture]).places
        assert place.picture.width / place.picture.height == pytest.approx(picture[0] / picture[1], abs=0.01)


def test_pictures_of_two_sizes_stand_on_one_line():
    first, second = arrange((1280, 800), [SQUARE, WIDE]).places
    assert first.caption.top == second.caption.top
    assert first.picture.top == second.picture.top


def test_a_wide_window_has_two_pictures_side_by_side_and_a_tall_one_has_them_one_above_the_other():
    beside = arrange((1600, 700), [SQUARE] * 2).places
    assert beside[0].picture.top == beside[1].picture.top
    above = arrange((700, 1300), [SQUARE] * 2).places
    assert above[0].picture.left == above[1].picture.left


def test_what_matters_most_stays_in_the_smallest_window():
    widgets = arrange(SMALLEST, [SQUARE], NAMES).widgets
    assert {"state", "temperature", "rate", "reward", "termination", "foot"} <= widgets.keys()
    assert "latent" not in widgets
    assert arrange((1280, 800), [SQUARE], NAMES).widgets.keys() == {*NAMES, "foot"}


def test_rows_keep_their_order_and_their_common_edges():
    widgets = arrange((1280, 800), [SQUARE], NAMES).widgets
    assert list(widgets) == [*NAMES, "foot"]
    assert len({(rect.left, rect.right) for rect in widgets.values()}) == 1
    tops = [rect.top for rect in widgets.values()]
    assert tops == sorted(tops)


def test_a_row_that_a_dream_lacks_leaves_no_gap():
    with_it, without = (arrange((640, 480), [SQUARE], names).widgets for names in (NAMES, ["state", "reward"]))
    assert without.keys() == {"state", "reward", "foot"}
    assert without["reward"].top < with_it["reward"].top


def test_type_grows_with_the_window_and_a_window_that_cannot_hold_large_type_gets_smaller():
    assert natural_scale((2560, 1600)) == 2.0
    assert natural_scale((2560, 800)) == 1.0
    assert arrange((2560, 1600), [SQUARE]).line == 2 * arrange((1280, 800), [SQUARE]).line
    assert arrange((480, 360), [SQUARE], NAMES, 2.0).scale == 1.0


def test_a_window_below_the_smallest_shows_part_of_it():
    assert arrange((200, 100), [SQUARE]) == arrange(SMALLEST, [SQUARE])
