"""The picture of a policy's training: what it earned in the dream, beside what was earned in the real environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dreamgym.errors import MissingExtra


def draw_curve(
    points: Sequence[tuple[int, float]], real: Mapping[str, float], path: str | Path, title: str = ""
) -> Path:
    """Draw the learning curve of a policy into a .png file and return its path.

    Args:
        points: decisions taken and the mean return of whole dreamed episodes, in order.
        real: name of a policy -> its mean return in the real env, a horizontal line each.
        path: of the file.
        title: above the curve.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter
    except ImportError as error:
        raise MissingExtra("a plot", "matplotlib", "plots") from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")  # without pyplot: no display, no global state
    axes = figure.add_subplot()
    decisions, returns = zip(*points, strict=True)
    axes.plot(
        decisions, returns, "o-", color="#4c72b0", markersize=4, linewidth=2, label="in the dream, while learning"
    )
    colors = dict(zip(real, ("#8c8c8c", "#55a868", "#dd8452", "#c44e52"), strict=False))
    for name, mean in real.items():
        axes.axhline(
            mean, color=colors.get(name, "black"), linestyle="--", linewidth=1.5, label=f"real: {name}, {mean:.0f}"
        )
    axes.set_xlabel("decisions in the dream")
    axes.set_ylabel("mean return of an episode")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
    return path
