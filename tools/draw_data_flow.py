"""Draw the data flow of a dream, docs/pictures/data_flow.svg.

    python tools/draw_data_flow.py

Boxes and arrows are listed below. The ground is opaque, so that the drawing is read in light and dark alike.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "data_flow.svg"
WIDTH, HEIGHT, BOX = 760, 430, (150, 62)
INK, FAINT, GROUND = "#1d2129", "#565d69", "#ffffff"
REAL, DREAM, NEUTRAL = "#fbe6c8", "#dbe6ff", "#eceef2"

BOXES = {  # name: (left, top, fill, lines)
    "real": (30, 60, REAL, ("real environment", "CarRacing, yours, ...")),
    "data": (305, 60, NEUTRAL, ("recordings", "episodes, Minari")),
    "model": (580, 60, DREAM, ("world model", "step, decode, features")),
    "starts": (580, 190, DREAM, ("start bank", "real, encoded moments")),
    "dream": (305, 190, DREAM, ("dream", "thousands of lanes")),
    "learner": (305, 320, NEUTRAL, ("learner", "SB3, RLlib, you ...")),
    "twin": (30, 190, REAL, ("real twin", "the dream's spaces")),
    "policy": (30, 320, NEUTRAL, ("policy", "one safetensors file")),
    "report": (580, 320, NEUTRAL, ("card and report", "how far to trust it")),
}
ARROWS = [  # from, to, what passes, its place, the points
    ("collect", (242, 84), [(180, 91), (305, 91)]),
    ("train", (517, 84), [(455, 91), (580, 91)]),
    ("observe", (684, 160), [(655, 122), (655, 190)]),
    ("reset", (517, 238), [(580, 221), (455, 221)]),
    ("step", (517, 178), [(580, 106), (548, 106), (548, 206), (455, 206)]),
    ("obs, reward", (322, 288), [(360, 252), (360, 320)]),
    ("action", (428, 288), [(400, 320), (400, 252)]),
    ("export", (242, 344), [(305, 351), (180, 351)]),
    ("features", (62, 288), [(92, 252), (92, 320)]),
    ("action", (148, 288), [(122, 320), (122, 252)]),
    ("the same physics", (164, 160), [(105, 122), (105, 190)]),
    ("dream score", (492, 282), [(430, 252), (430, 264), (545, 264), (545, 336), (580, 336)]),
    ("real score", (380, 400), [(105, 382), (105, 408), (655, 408), (655, 382)]),
]


def main() -> None:
    """Write the drawing."""
    shapes = [text(30, 34, "what is real", INK, "start", 15), text(570, 34, "what is dreamed", INK, "start", 15)]
    shapes += [swatch(128, 22, REAL), swatch(712, 22, DREAM)]
    for said, (x, y), points in ARROWS:
        shapes += [arrow(points), text(x, y, said, FAINT)]
    for left, top, fill, (title, below) in BOXES.values():
        x = left + BOX[0] / 2
        shapes.append(f'<rect x="{left}" y="{top}" width="{BOX[0]}" height="{BOX[1]}" rx="8" fill="{fill}"/>')
        shapes += [text(x, top + 27, title, INK, size=14, weight=600), text(x, top + 46, below, FAINT)]
    OUT.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, sans-serif"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
        f'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{FAINT}"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{GROUND}"/>\n' + "\n".join(shapes) + "\n</svg>\n",
        encoding="utf-8",
    )
    print(OUT)


def text(x: float, y: float, said: str, fill: str, anchor: str = "middle", size: int = 12, weight: int = 400) -> str:
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
    main()
