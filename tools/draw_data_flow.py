"""Draw the data flow of a dream, docs/pictures/data_flow.svg.

    python tools/draw_data_flow.py

Boxes and arrows are listed below. The ground is opaque, so that the drawing is read in light and dark alike.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "data_flow.svg"
WIDTH, HEIGHT, BOX = 620, 424, (150, 62)
INK, FAINT, GROUND = "#1d2129", "#565d69", "#ffffff"
REAL, DREAM, NEUTRAL = "#fbe6c8", "#dbe6ff", "#eceef2"

BOXES = [  # left, top, fill, title, what is below it
    (10, 60, REAL, "environment", "CarRacing, yours"),
    (235, 60, NEUTRAL, "recordings", "episodes, Minari"),
    (460, 60, DREAM, "world model", "step, decode"),
    (10, 190, REAL, "real twin", "the same spaces"),
    (235, 190, DREAM, "dream", "thousands of lanes"),
    (460, 190, DREAM, "start bank", "real moments"),
    (10, 320, NEUTRAL, "policy", "one small file"),
    (235, 320, NEUTRAL, "learner", "SB3, RLlib, you"),
    (460, 320, NEUTRAL, "card, report", "how far to trust it"),
]
ARROWS = [  # what passes, where that is written and how aligned, the points of the line
    ("collect", (197, 84), "middle", [(160, 91), (235, 91)]),
    ("train", (422, 84), "middle", [(385, 91), (460, 91)]),
    ("observe", (542, 160), "start", [(535, 122), (535, 190)]),
    ("reset", (422, 240), "middle", [(460, 224), (385, 224)]),
    ("step", (424, 160), "end", [(460, 106), (430, 106), (430, 206), (385, 206)]),
    ("obs, reward", (284, 291), "end", [(290, 252), (290, 320)]),
    ("action", (336, 291), "start", [(330, 320), (330, 252)]),
    ("export", (197, 344), "middle", [(235, 351), (160, 351)]),
    ("features", (66, 291), "end", [(72, 252), (72, 320)]),
    ("action", (108, 291), "start", [(102, 320), (102, 252)]),
    ("the same physics", (92, 160), "start", [(85, 122), (85, 190)]),
    ("dream score", (442, 291), "start", [(360, 252), (360, 266), (435, 266), (435, 336), (460, 336)]),
    ("real score", (310, 400), "middle", [(85, 382), (85, 408), (535, 408), (535, 382)]),
]


def drawing() -> str:
    """Return the drawing as SVG."""
    shapes = [text(10, 34, "what is real", INK, "start", 16), text(448, 34, "what is dreamed", INK, "start", 16)]
    shapes += [swatch(108, 22, REAL), swatch(592, 22, DREAM)]
    for said, (x, y), anchor, points in ARROWS:
        shapes += [arrow(points), text(x, y, said, FAINT, anchor)]
    for left, top, fill, title, below in BOXES:
        x = left + BOX[0] / 2
        shapes.append(f'<rect x="{left}" y="{top}" width="{BOX[0]}" height="{BOX[1]}" rx="8" fill="{fill}"/>')
        shapes += [text(x, top + 27, title, INK, size=16, weight=600), text(x, top + 47, below, FAINT)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, sans-serif"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
        f'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{FAINT}"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{GROUND}"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def text(x: float, y: float, said: str, fill: str, anchor: str = "middle", size: int = 14, weight: int = 400) -> str:
    """Return a line of text."""
    look = f'fill="{fill}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(said)}</text>'


def arrow(points: list[tuple[int, int]]) -> str:
    """Return a line through points, with a tip at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{FAINT}" stroke-width="1.5" marker-end="url(#tip)"/>'


def swatch(x: float, y: float, fill: str) -> str:
    """Return a small square of a colour."""
    return f'<rect x="{x:g}" y="{y:g}" width="14" height="14" rx="3" fill="{fill}" stroke="{FAINT}"/>'


if __name__ == "__main__":
    OUT.write_text(drawing(), encoding="utf-8")
    print(OUT)
