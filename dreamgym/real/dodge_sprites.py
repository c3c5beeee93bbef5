"""The pictures of Dodge-v0: every sprite is drawn from shapes once, at import, and stamped as a list of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SIZE = 64  # pixels, height and width of the picture
_HALF = 8  # pixels, half the side of the square in which a sprite is drawn
_FINE = 4  # sub-pixels per pixel and axis, for smooth edges
_BACKDROP = np.array([13.0, 13.0, 34.0])  # what soft edges are blended with

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
Layer = tuple[Shape, tuple[int, int, int]]


def disc(radius: float, cx: float = 0.0, cy: float = 0.0) -> Shape:
    """Return the shape of a disc, in pixels from the sprite's centre."""
    return lambda x, y: (x - cx) ** 2 + (y - cy) ** 2 <= radius**2


def diamond(radius: float, cx: float = 0.0, cy: float = 0.0) -> Shape:
    """Return the shape of a square that stands on a corner."""
    return lambda x, y: np.abs(x - cx) + np.abs(y - cy) <= radius


def polygon(*corners: tuple[float, float]) -> Shape:
    """Return the shape of a convex polygon whose corners run clockwise on the screen (y grows downwards)."""

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        result = np.ones(x.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            result &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= 0
        return result

    return inside


def burst(points: int, outer: float, inner: float) -> Shape:
    """Return the shape of a star with that many points."""

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        wave = np.abs(np.mod(np.arctan2(y, x) * points / (2 * np.pi), 1.0) - 0.5) * 2
        return np.hypot(x, y) <= inner + (outer - inner) * wave

    return inside


def blend(layers: Sequence[Layer], side: int, backdrop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shapes with smooth edges, one upon the other around the centre of a square of `side` pixels.

    Args:
        layers: the lowest first.
        side: pixels.
        backdrop: `[3]` or `[side, side, 3]`, what lies beneath.

    Returns:
        The picture, `[side, side, 3]` float, and how much of each pixel is covered, `[side, side]` in [0, 1].
    """
    fine = (np.arange(side * _FINE) + 0.5) / _FINE - side / 2
    y, x = np.meshgrid(fine, fine, indexing="ij")
    picture = np.broadcast_to(backdrop, (side, side, 3))
    covered = np.zeros((side, side))
    for shape, colour in layers:
        alpha = shape(x, y).reshape(side, _FINE, side, _FINE).mean(axis=(1, 3))
        picture = picture + alpha[..., None] * (np.array(colour) - picture)
        covered = np.maximum(covered, alpha)
    return picture, covered


def paint(*layers: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of a sprite: `[P, 2]` offsets (row, column) from its centre and `[P, 3]` uint8 colours."""
    picture, covered = blend(layers, 2 * _HALF + 1, _BACKDROP)
    rows, columns = np.nonzero(covered >= 0.3)
    offsets = np.stack([rows - _HALF, columns - _HALF], axis=1)
    return offsets, np.rint(picture[rows, columns]).astype(np.uint8)


def background() -> np.ndarray:
    """Return the night sky, `[64, 64, 3]` uint8: a vertical gradient with a few faint stars."""
    fade = np.linspace(0.0, 1.0, SIZE)[:, None, None]
    sky = np.array([8.0, 10.0, 26.0]) * (1 - fade) + np.array([24.0, 17.0, 50.0]) * fade
    sky = np.repeat(sky, SIZE, axis=1)
    rng = np.random.default_rng(7)
    rows, columns = rng.integers(0, SIZE, (2, 26))
    sky[rows, columns] += rng.uniform(14, 46, 26)[:, None] * np.array([0.9, 0.95, 1.0])
    return np.rint(sky).astype(np.uint8)


def _comet(slope: float) -> list[Layer]:
    """Return a falling fireball; its tail points to where it came from."""
    tail = polygon((-2.4, -0.5), (-4.6 * slope - 0.6, -8.3), (-4.6 * slope + 0.6, -8.3), (2.4, -0.5))
    glow = polygon((-1.3, -0.5), (-2.9 * slope - 0.4, -5.6), (-2.9 * slope + 0.4, -5.6), (1.3, -0.5))
    return [
        (tail, (150, 52, 30)),
        (glow, (232, 128, 40)),
        (disc(3.3), (246, 150, 44)),
        (disc(2.1, 0.2 * slope, 0.3), (255, 236, 160)),
    ]


_ROCK: list[Layer] = [
    (disc(4.0), (92, 100, 118)),
    (disc(3.2, -0.5, -0.6), (138, 147, 166)),
    (disc(1.5, -1.2, -1.3), (178, 187, 204)),
    (disc(0.9, 1.5, 1.0), (76, 83, 100)),
]
_ARMED: list[Layer] = [  # the two horns say that it will branch, and nothing says which way
    (polygon((-6.2, 0), (-3.2, -2.1), (-3.2, 2.1)), (255, 176, 236)),
    (polygon((6.2, 0), (3.2, 2.1), (3.2, -2.1)), (255, 176, 236)),
    (diamond(4.4), (224, 60, 178)),
    (diamond(1.9), (255, 224, 248)),
]
_SPENT: list[Layer] = [(diamond(4.4), (132, 66, 196)), (diamond(2.0), (204, 160, 250))]


def _veering(side: int) -> list[Layer]:
    """Return a branching thing on its way to that side (-1 left, 1 right): one horn ahead, a streak behind."""
    horn = [(6.2 * side, 1.2), (3.0 * side, -1.4), (3.0 * side, 3.4)]
    streak = [(-0.5 * side, -3.4), (-7.4 * side, -5.4), (-1.5 * side, 2.0)]
    flip = slice(None, None, -side)  # a mirrored polygon must run the other way to stay clockwise
    return [
        (polygon(*streak[::-side]), (112, 34, 104)),
        (polygon(*horn[flip]), (255, 176, 236)),
        (diamond(4.4), (224, 60, 178)),
        (diamond(1.9), (255, 224, 248)),
    ]


_SHIP: list[Layer] = [
    (polygon((-1.4, 2.5), (1.4, 2.5), (0, 5.6)), (255, 168, 66)),
    (polygon((-5.0, 3.2), (-1.0, -1.2), (1.0, -1.2), (5.0, 3.2)), (46, 150, 190)),
    (polygon((0, -4.6), (2.3, 3.4), (-2.3, 3.4)), (120, 230, 240)),
    (disc(1.1, 0, -0.3), (250, 255, 255)),
]
_WRECK: list[Layer] = [
    (burst(9, 8.0, 4.6), (214, 62, 40)),
    (burst(7, 6.0, 3.4), (255, 160, 52)),
    (disc(2.6), (255, 246, 200)),
]

THINGS: list[list[Layer]] = [_ROCK, _comet(-0.25), _comet(0), _comet(0.25), _ARMED, _veering(-1), _veering(1), _SPENT]


def sheet() -> tuple[np.ndarray, np.ndarray]:
    """Return all sprites, things first, then ship and wreck: `[K, P, 2]` int64 offsets and `[K, P, 3]` uint8 colours.

    Shorter sprites repeat their first pixel, which stamps the same colour twice and changes nothing.
    """
    sprites = [paint(*layers) for layers in [*THINGS, _SHIP, _WRECK]]
    most = max(len(offsets) for offsets, _ in sprites)
    order = [np.arange(most) * (np.arange(most) < len(offsets)) for offsets, _ in sprites]
    offsets = np.stack([offsets[i] for (offsets, _), i in zip(sprites, order, strict=True)])
    colours = np.stack([colours[i] for (_, colours), i in zip(sprites, order, strict=True)])
    return offsets.astype(np.int64), colours
