"""A report on disk: `report.html`, `report.json`, `report.md`, and its key figures on a dream's card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamgym.core.model import WorldModel
from dreamgym.errors import DreamgymError, NotWritable
from dreamgym.hub import read_card, write_card
from dreamgym.report.drawing import draw_plots
from dreamgym.report.open_loop import Dreams
from dreamgym.report.page import to_html, to_markdown
from dreamgym.report.strips import draw_strips
from dreamgym.report.verdict import in_words


def write(report: Mapping[str, Any], out: Path, model: WorldModel[Any], dreams: Dreams | None) -> dict[str, Path]:
    """Write a report into a folder, each file at once or not at all, and return the paths by suffix.

    Args:
        report: what `measure` returned.
        out: the folder; older reports there are replaced.
        model: that dreamed.
        dreams: for the strips.

    Raises:
        MissingExtra: if matplotlib is not installed.
        NotWritable: if the folder cannot be written.
    """
    pictures = draw_plots(report)
    if dreams is not None:
        pictures |= draw_strips(model, dreams, report["horizon"]["shown"])
    texts = {
        "html": to_html(report, pictures),
        "json": to_json(report),
        "md": to_markdown(report),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        return {suffix: _write(out / f"report.{suffix}", text) for suffix, text in texts.items()}
    except OSError as error:
        raise NotWritable(f"{out} cannot be written: {error.strerror or error}.") from error


def to_json(report: Mapping[str, Any]) -> str:
    """Return a report as JSON, a line for each part."""
    parts = [f"{json.dumps(name)}: {json.dumps(part, allow_nan=False)}" for name, part in report.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def key_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card says of a report; what was not measured is left out, since TOML knows no null."""
    transfer, words = report["transfer"], in_words(list(report["verdict"]))
    rank, horizon, endings = transfer.get("spearman", {}), report.get("horizon", {}), report.get("endings", {})
    seen = horizon.get("observations", horizon.get("features", {}))
    figures = {
        "trustworthy_for": words["trustworthy"],
        "not_for": words["not"],
        "not_measured": words["unknown"],
        "policies": len(transfer["policies"]),
        "spearman": rank.get("value"),
        "spearman_low": rank.get("low"),
        "spearman_high": rank.get("high"),
        "score_error": transfer.get("score_error"),
        "steps_trusted": seen.get("trusted"),
        "endings": endings.get("endings"),
        "endings_rate": endings.get("rate", {}).get("value"),
        "endings_recall": endings.get("recall", {}).get("value"),
        "endings_precision": endings.get("precision", {}).get("value"),
        "false_alarms_an_episode": endings.get("false_alarms", {}).get("value"),
        "outside_data": report.get("outside", {}).get("share", {}).get("value"),
        "seed": report["config"]["seed"],
    }
    return {name: value for name, value in figures.items() if value is not None}


def put_on_card(report: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write a report's key figures on the card in a dream's folder, where they replace older ones, and return them.

    Raises:
        DreamgymError: if the dream there has other weights than the one that was measured.
    """
    card = read_card(folder)
    measured, there = report["dream"]["weights_sha256"], card["files"]["weights.safetensors"]
    if measured != there:
        raise DreamgymError(
            f"the report is of weights {measured[:12]}; {folder} holds {there[:12]}. Report on it anew."
        )
    figures = key_figures(report)
    write_card(folder, {**card, "report": figures})
    return figures


def _write(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
