"""Everything that a report measures, in one plain dict, and what could not be measured, with the reason."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dreamgym
from dreamgym.bench.speed import bench
from dreamgym.core.threads import use_threads
from dreamgym.data.collect import summarize
from dreamgym.data.episodes import Dataset
from dreamgym.demo import make_plan
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.twin import why_no_real
from dreamgym.errors import InvalidDataset
from dreamgym.hub import LoadedDream
from dreamgym.report.config import USES, ReportConfig
from dreamgym.report.data import held_out, record
from dreamgym.report.exploitation import exploitation_figures, train_longer
from dreamgym.report.foresight import ending_figures, reward_figures
from dreamgym.report.horizon import horizon_figures, typical_windows
from dreamgym.report.one_step import one_step_ahead
from dreamgym.report.open_loop import Dreams, dream_on
from dreamgym.report.outside import fit_plane, map_figures, outside_figures
from dreamgym.report.rivals import rivals
from dreamgym.report.transfer import play, transfer_figures
from dreamgym.report.verdict import judge

FORMAT = "dreamgym.report.1"
HELD_OUT, POLICIES, LONGER, OUTSIDE = USES


def measure(
    dream: Model,
    *,
    variant: str | None = None,
    data: Sequence[Path] = (),
    holdout: float = 0.05,
    policies: Sequence[Path] = (),
    exploitation: bool = False,
    decisions: int | None = None,
    workers: int = 1,
    config: ReportConfig | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], Dreams | None]:
    """Return the figures of a dream, ready for JSON, and the dreamed stretches of which pictures can be drawn.

    What cannot be measured is left out and named, with the reason, in the row `missing`.

    Args:
        dream: a registered dream's id, a folder that `dreamgym train` wrote, or a `LoadedDream`.
        variant: which of a registered dream's variants.
        data: folders of recordings; none records fresh ones of the real twin.
        holdout: share of them that training held out.
        policies: files of further policies, for the comparison of returns.
        exploitation: whether a policy is trained for longer and longer.
        decisions: of that training; by default twice those of the dream's own.
        workers: processes that play real episodes.
        config: how much of everything.
        say: is told what is being done.

    Raises:
        UnknownName: if there is no such dream or variant.
        InvalidArgument: if an option cannot be meant.
        InvalidDataset: if the recordings are of another env, or none is held out.
        PolicyMismatch: if a policy was made for other spaces.
    """
    began, config = time.perf_counter(), config or ReportConfig()
    opened = open_dream(dream, variant, (), "cpu")
    with use_threads():  # sums in another order would be other episodes
        against = rivals(opened, policies)  # these two find faults before anything is measured
        given = held_out(opened, data, holdout) if data else None
        report: dict[str, Any] = {
            "format": FORMAT,
            "dream": _about(opened, variant),
            "config": asdict(config),
            "seeds": {},
            "selection": _selection(opened),
            "missing": [],
        }
        missing = why_no_real(opened)
        if missing:
            _miss(report, "the real env", missing)
        dreams = None
        with tempfile.TemporaryDirectory() as folder:
            dataset = given
            if dataset is None and not missing:
                say(f"recording {config.record} real episodes")
                seed = config.first_seed(HELD_OUT)
                name = str(opened.folder if isinstance(dream, LoadedDream) else dream)  # workers load it by this
                dataset = record(opened, name, variant, Path(folder) / "data", config.record, seed, workers)
                report["seeds"][HELD_OUT] = {"first": seed, "count": config.record}
            if dataset is None:
                _miss(report, "errors over the horizon, rewards and endings, where not to trust", f"{missing}; no data "
                      "were given")  # fmt: skip
            else:
                report["data"] = {"given": [str(path) for path in data], **summarize(dataset)}
                dreams = _fidelity(report, opened, dream, variant, dataset, not missing, config, say)
            span = _transfer(report, dream, variant, against, not missing, workers, config, say)
            if exploitation:
                say("training a policy for longer and longer")
                plan = make_plan(opened.card, None, decisions)
                if decisions is None:
                    plan = replace(plan, decisions=2 * plan.decisions)
                seed = config.first_seed(LONGER)
                snapshots = train_longer(dream if variant is None else opened, plan, Path(folder), config.checkpoints)
                report["exploitation"] = exploitation_figures(
                    dream, snapshots, episodes=config.episodes, seed=seed, span=span, variant=variant,
                    num_workers=workers, real=not missing,
                )  # fmt: skip
                report["seeds"][LONGER] = {"first": seed, "count": config.episodes}
        say("measuring speed")
        report["speed"] = _speed(opened, config)
    report["verdict"] = judge(report)
    report["seconds"] = time.perf_counter() - began
    return tidy(report), dreams


def _fidelity(
    report: dict[str, Any], opened: LoadedDream, dream: Model, variant: str | None, dataset: Dataset, real: bool,
    config: ReportConfig, say: Callable[[str], None],
) -> Dreams | None:  # fmt: skip
    """Add what held-out episodes tell, and return the dreamed stretches."""
    say(f"filtering {dataset.num_steps:,} steps of {len(dataset)} held-out episodes")
    steps = one_step_ahead(opened.model, dataset, seed=config.seed)
    report["reward"], report["endings"] = reward_figures(steps), ending_figures(steps)
    plane = fit_plane(steps.features)
    drivers = [str(meta.get("driver", "unknown")) for meta in dataset.metas]
    report["map"] = map_figures(steps, plane, drivers)
    if steps.disagreement is None:
        _miss(report, "disagreement", f"{type(opened.model).__name__} has no members that could disagree")
    is_data = np.array([name != "policy" for name in drivers])[steps.episode]
    if not opened.ships_policy:
        _miss(report, "steps outside the data", f"{opened.name} ships no policy")
    elif real and is_data.any():
        seed = config.first_seed(OUTSIDE)
        report["outside"] = outside_figures(
            dream, steps, plane, is_data, episodes=config.episodes, seed=seed, variant=variant
        )
        report["seeds"][OUTSIDE] = {"first": seed, "count": config.episodes}
    else:
        why = "all held-out episodes are the policy's own" if real else "there is no real env"
        _miss(report, "steps outside the data", why)
    say(f"dreaming {config.draws} times each of up to {config.windows} stretches")
    try:
        dreams = dream_on(
            opened.model, dataset, steps, horizon=config.horizon, context=config.context, windows=config.windows,
            draws=config.draws, seed=config.seed,
        )  # fmt: skip
    except InvalidDataset as error:
        _miss(report, "errors over the horizon", str(error))
        return None
    if dreams.obs is None:
        _miss(report, "observations over the horizon, and strips", f"{type(opened.model).__name__} has no decoder")
    report["horizon"] = horizon_figures(dreams) | {"shown": typical_windows(dreams)}
    return dreams


def _transfer(
    report: dict[str, Any], dream: Model, variant: str | None, against: dict[str, Any], real: bool, workers: int,
    config: ReportConfig, say: Callable[[str], None],
) -> float:  # fmt: skip
    """Add what policies earn and return the range of real returns."""
    say(f"playing {len(against)} policies, {config.episodes} episodes each")
    seed = config.first_seed(POLICIES)
    returns = play(dream, against, episodes=config.episodes, seed=seed, variant=variant, num_workers=workers, real=real)
    report["transfer"] = transfer_figures(returns)
    report["seeds"][POLICIES] = {"first": seed, "count": config.episodes}
    return float(report["transfer"].get("range", float("nan")))


def _speed(opened: LoadedDream, config: ReportConfig) -> dict[str, Any]:
    """Return steps a second of one thread, measured in turns in this process."""
    found = bench(opened, lanes=config.lanes, seconds=config.seconds)
    rows = [
        {"lanes": row["lanes"], **{name: row["steps_per_second"].get(name) for name in ("torch", "pixels", "real")}}
        for row in found["rows"]
    ]
    return {"threads": found["threads"], "torch": found["torch"], "rows": rows}


def _about(opened: LoadedDream, variant: str | None) -> dict[str, Any]:
    model: Any = opened.model
    return {
        "name": opened.name,
        "variant": variant,
        "family": type(model).__name__,
        "weights": sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else None,
        "weights_sha256": opened.model_sha256,
        "real": opened.card.get("real"),
        "features": model.feature_dim,
        "trained_on": {name: opened.card["data"][name] for name in ("episodes", "steps") if name in opened.card["data"]}
        if "data" in opened.card
        else None,
        "dreamgym": dreamgym.__version__,
        "torch": torch.__version__,
    }


def _selection(opened: LoadedDream) -> list[int]:
    """Return the seeds that the card names: those of the commands that made the dream, and of its scores."""
    named = re.findall(r"seed (\d+)", "\n".join(opened.card.get("commands", [])))
    return sorted({int(seed) for seed in named} | ({int(opened.card["seed"])} if "seed" in opened.card else set()))


def _miss(report: dict[str, Any], part: str, why: str) -> None:
    report["missing"].append({"part": part, "why": why})


def tidy(value: Any) -> Any:
    """Return a value as JSON can hold it: six digits are enough, and what is not finite is null."""
    if isinstance(value, dict):
        return {str(name): tidy(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [tidy(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
