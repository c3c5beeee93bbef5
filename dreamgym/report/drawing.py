"""The plots of a report as SVG that goes into a page: text stays text, and colours are the page's, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamgym.errors import MissingExtra
from dreamgym.report.horizon import TINY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, BLUE, ORANGE, GREEN, PAPER = (f"#01020{i}" for i in range(7))
_VARIABLES = {INK: "--ink", FAINT: "--faint", GRID: "--grid", BLUE: "--blue", ORANGE: "--orange", GREEN: "--green",
              PAPER: "--paper"}  # fmt: skip
SIZE = (4.6, 3.1)
"""Inches: as wide as a phone, so that letters there are as large as they are drawn."""
LABELS = {"observations": "error of observations", "features": "error of features", "reward": "error of summed reward"}


def check_matplotlib() -> None:
    """Return if plots can be drawn.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a report", "matplotlib", "plots") from error


def draw_plots(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots that a report has figures for: name -> SVG.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    with page_style():
        return _plots(report)


@contextmanager
def page_style() -> Iterator[None]:
    """Within it, plots have the page's colours.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    check_matplotlib()
    import matplotlib

    style: Any = {
        "axes.edgecolor": FAINT, "axes.labelcolor": INK, "axes.facecolor": "none", "axes.grid": True,
        "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "grid.color": GRID,
        "grid.linewidth": 0.6, "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK,
        "ytick.labelcolor": INK, "text.color": INK, "font.size": 9, "legend.frameon": False,
        "figure.facecolor": "none", "lines.linewidth": 1.6, "svg.fonttype": "none",
    }  # fmt: skip
    with matplotlib.rc_context(style):
        yield


def _plots(report: Mapping[str, Any]) -> dict[str, str]:
    plots: dict[str, str] = {}
    if "horizon" in report:
        for kind in ("observations", "features", "reward"):
            if kind in report["horizon"] and _tells(report["horizon"][kind]):
                plots[f"horizon {kind}"] = _horizon(report["horizon"][kind], kind)
        plots["coverage"] = _coverage(report["horizon"])
    if "reward" in report:
        if report["reward"]["varies"]:
            plots["reward"] = _calibration(report["reward"]["calibration"], "expected reward", "real reward")
        plots["endings"] = _calibration(
            report["endings"]["calibration"], "probability of ending", "share that ended", edge=(0.0, 1.0)
        )
    if "spearman" in report["transfer"]:
        plots["transfer"] = _scatter(report["transfer"]["policies"])
    if "exploitation" in report:
        plots["exploitation"] = _exploitation(report["exploitation"])
    if "map" in report:
        plots["map error"] = _map(report["map"], "error", "error of one step")
        if "disagreement" in report["map"]:
            plots["map disagreement"] = _map(report["map"], "disagreement", "disagreement")
    return plots


def _horizon(curves: Mapping[str, Any], kind: str) -> str:
    figure, axes = begin()
    after = curves["after"]
    low, high = (_numbers(curves[end]) for end in ("low", "high"))
    axes.fill_between(after, low, high, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(after, _numbers(curves["dream"]), color=BLUE, label="a dream")
    axes.plot(after, _numbers(curves["best"]), color=BLUE, linestyle=":", label="the best of its draws")
    axes.plot(after, _numbers(curves["still"]), color=ORANGE, linestyle="--", label="last moment repeated")
    axes.plot(after, _numbers(curves["other"]), color=FAINT, linestyle="-.", label="another episode")
    if 0 < curves["trusted"] < after[-1]:
        axes.axvline(curves["trusted"], color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(f"{curves['trusted']}", (curves["trusted"], 1), (3, -2), xycoords=("data", "axes fraction"),
                      textcoords="offset points", color=INK, va="top")  # fmt: skip
    axes.set_xlabel("steps with closed eyes")
    axes.set_ylabel(LABELS[kind])
    if kind == "reward":
        axes.set_ylim(bottom=0)
    else:
        _log(axes, _numbers([curves[name] for name in ("low", "best", "still", "other")]))
    axes.set_xlim(left=min(1, after[-1] - 1), right=max(after[-1], 2))
    _legend(axes)
    return to_svg(figure, f"horizon-{kind}")


def _coverage(horizon: Mapping[str, Any]) -> str:
    figure, axes = begin()
    axes.axhline(horizon["nominal_coverage"], color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(f"as it should be, {horizon['nominal_coverage']:.0%}", (1, horizon["nominal_coverage"]), (-4, -3),
                  xycoords=("axes fraction", "data"), textcoords="offset points", color=INK, ha="right",
                  va="top")  # fmt: skip
    for kind, colour, style in (("features", BLUE, "-"), ("reward", ORANGE, "--")):
        curves = horizon[kind]
        if not _tells(curves):  # what never changes is covered by lot
            continue
        axes.plot(curves["after"], _numbers(curves["covered"]), color=colour, linestyle=style,
                  label={"features": "features", "reward": "summed reward"}[kind])  # fmt: skip
    axes.set_xlabel("steps with closed eyes")
    axes.set_ylabel("share of truths within the draws")
    axes.set_ylim(0, 1.02)
    _legend(axes)
    return to_svg(figure, "coverage")


def _calibration(rows: Sequence[Mapping[str, Any]], x: str, y: str, edge: tuple[float, float] | None = None) -> str:
    figure, axes = begin()
    predicted, real, low, high = (
        _numbers([row[name] for row in rows]) for name in ("predicted", "real", "low", "high")
    )
    everything = np.concatenate([predicted, real, low, high])
    first, last = edge or (float(np.nanmin(everything)), float(np.nanmax(everything)))
    margin = 0.05 * max(last - first, 1e-3 * max(abs(last), 1e-9))
    axes.plot([first, last], [first, last], color=INK, linewidth=0.8, linestyle=":", label="as it should be")
    axes.errorbar(predicted, real, [np.clip(real - low, 0, None), np.clip(high - real, 0, None)], color=BLUE, fmt="o-",
                  markersize=4, linewidth=1.2, elinewidth=1, label="bins of steps, 95% interval")  # fmt: skip
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(first - margin, last + margin)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _legend(axes)
    return to_svg(figure, x)


def _scatter(rows: Sequence[Mapping[str, Any]]) -> str:
    figure, axes = begin()
    dream, real = (_numbers([row[side]["value"] for row in rows]) for side in ("dream", "real"))
    ends = [np.nanmin([dream, real]), np.nanmax([dream, real])]
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":", label="dream = real")
    errors = [[[abs(row[side]["value"] - (row[side][end] or 0)) for row in rows] for end in ("low", "high")]
              for side in ("dream", "real")]  # fmt: skip
    axes.errorbar(dream, real, errors[1], errors[0], color=FAINT, alpha=0.6, fmt="none", elinewidth=1)
    axes.plot(dream, real, "o", color=BLUE, markersize=5)
    for place, row in enumerate(rows):
        if row["name"] in ("shipped", "random"):
            right = dream[place] > (ends[0] + ends[1]) / 2  # the name stands where there is room
            axes.annotate(row["name"], (dream[place], real[place]), (-6 if right else 6, 4), color=INK,
                          textcoords="offset points", ha="right" if right else "left")  # fmt: skip
    axes.set_xlabel("mean return in the dream")
    axes.set_ylabel("mean real return")
    axes.margins(0.08)
    _legend(axes)
    return to_svg(figure, "transfer")


def _exploitation(part: Mapping[str, Any]) -> str:
    from matplotlib.ticker import EngFormatter

    figure, axes = begin()
    decisions = [row["decisions"] for row in part["rows"]]
    for side, colour, style in (("dream", BLUE, "o-"), ("real", ORANGE, "s--")):
        if side in part["rows"][0]:
            value, low, high = (
                _numbers([row[side][name] for row in part["rows"]]) for name in ("value", "low", "high")
            )
            axes.fill_between(decisions, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(
                decisions, value, style, color=colour, markersize=4, label=f"in the {side}" if side == "dream" else side
            )
    if part["parted"] is not None:
        axes.axvline(part["parted"], color=INK, linewidth=0.8, linestyle=":")
        axes.annotate("parted", (part["parted"], 0), (-3, 4), xycoords=("data", "axes fraction"), ha="right",
                      textcoords="offset points", color=INK)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(decisions)
    axes.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    axes.minorticks_off()
    axes.set_xlabel("decisions of training in the dream")
    axes.set_ylabel("mean return")
    _legend(axes)
    return to_svg(figure, "exploitation")


def _map(part: Mapping[str, Any], name: str, label: str) -> str:
    from matplotlib.colors import LogNorm, Normalize

    figure, axes = begin()
    values = _numbers(part[name])
    there = values[np.isfinite(values)]
    low, high = (np.quantile(there, q) for q in (0.02, 0.98)) if len(there) else (0.0, 1.0)
    norm = LogNorm(low, high) if low > 0 and high / low > 20 else Normalize(low, max(high, low + 1e-9))
    mesh = axes.pcolormesh(part["x"], part["y"], np.ma.masked_invalid(values), cmap="viridis", norm=norm, linewidth=0,
                           rasterized=True)  # fmt: skip
    bar = figure.colorbar(mesh, ax=axes, label=label, aspect=30)
    bar.outline.set_visible(False)  # type: ignore[operator]
    axes.grid(False)
    axes.set_xlabel("first direction of the features")
    axes.set_ylabel("second direction")
    return to_svg(figure, f"map-{name}")


def begin(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """Return an empty plot; without pyplot: no display, no global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", dpi=72)
    return figure, figure.add_subplot()


def _log(axes: Axes, values: np.ndarray) -> None:
    """Give a plot a logarithmic axis upwards: a good dream begins far below what knows nothing."""
    from matplotlib.ticker import LogLocator, NullFormatter

    there = values[np.isfinite(values) & (values > TINY)]
    if len(there) == 0:
        return
    axes.set_yscale("log")
    narrow = there.max() / there.min() < 100
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=8, labelcolor=INK, borderaxespad=0.2,
                handlelength=2, columnspacing=1.2)  # fmt: skip


def to_svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element that fills its place and takes the page's colours."""
    import matplotlib

    out = io.StringIO()
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata=nothing, transparent=True, dpi=144)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    prefix = re.sub(r"[^a-z0-9]+", "-", name.lower())
    text = re.sub(r'\bid="', f'id="{prefix}-', text)  # ids are the page's, and plots share theirs
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    text = re.sub(r"<(metadata|style)[ >].*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's own
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", text)


def _tells(curves: Mapping[str, Any]) -> bool:
    """Return whether there is anything to see: a dream that errs, or a baseline that does."""
    return any(np.nanmax(_numbers([0, *curves[name]])) > TINY for name in ("dream", "still", "other"))


def _numbers(values: Any) -> np.ndarray:
    """Return numbers as float; what JSON knows as null is NaN."""
    return np.array(values, dtype=float)
