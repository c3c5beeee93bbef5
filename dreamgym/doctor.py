"""What this machine offers to dreamgym, and what will go wrong on it: `dreamgym doctor`.

Nothing here is fatal: a broken or absent library becomes a line of the report.
"""

from __future__ import annotations

import importlib
import json as json_format
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata, util
from typing import Literal

import dreamgym

REQUIRED = ("gymnasium", "numpy", "safetensors", "stable-baselines3", "tomli-w", "torch", "tqdm", "tyro")
EXTRAS = {  # extra -> what it installs, by import name
    "box2d": ("Box2D",),
    "docs": ("zensical", "mkdocstrings"),
    "doom": ("vizdoom",),
    "es": ("cma",),
    "evotorch": ("evotorch",),
    "minari": ("minari", "h5py"),
    "mujoco": ("mujoco",),
    "notebooks": ("ipykernel", "jupytext", "nbclient", "papermill"),
    "plots": ("matplotlib",),
    "ray": ("ray",),
    "rl-games": ("rl_games",),
    "rllib": ("ray", "lz4"),
    "sb3-contrib": ("sb3_contrib",),
    "skrl": ("skrl",),
    "tensorboard": ("tensorboard",),
    "tianshou": ("tianshou",),
    "torchrl": ("torchrl",),
    "video": ("imageio", "imageio_ffmpeg", "PIL"),
}


@dataclass(frozen=True)
class Line:
    """One finding: what was looked at, what was found, and what to do if that is not as it should be."""

    topic: str
    finding: str
    state: Literal["ok", "note", "problem"] = "ok"
    advice: str = ""


def report() -> list[Line]:
    """Return the findings: versions, extras, device, threads, display and pygame."""
    lines = [Line("python", platform.python_version()), Line("dreamgym", dreamgym.__version__)]
    lines += [_version(name) for name in REQUIRED]
    lines += [_extra(name, modules) for name, modules in EXTRAS.items()]
    if installed("torch"):
        lines += _torch_lines()
    lines += [display_line(sys.platform, os.environ), pygame_line(installed("pygame"), installed("pygame-ce"))]
    return lines


def main(json: bool = False) -> int:
    """Print the report, for people or as JSON, and return the exit status: 1 if something is broken."""
    lines = report()
    if json:
        print(json_format.dumps([asdict(line) for line in lines], indent=2))
    else:
        width = max(len(line.topic) for line in lines)
        marks = {"ok": " ", "note": "-", "problem": "!"}
        for line in lines:
            print(f"{marks[line.state]} {line.topic:{width}}  {line.finding}")
            if line.advice:
                print(f"  {'':{width}}  -> {line.advice}")
    return int(any(line.state == "problem" for line in lines))


def threads_line(threads: int, cores: int | None, omp_num_threads: str | None) -> Line:
    """Return whether torch's threads will get in each other's way."""
    finding = f"{threads} for torch, {cores} cores, OMP_NUM_THREADS={omp_num_threads or 'unset'}"
    if threads == 1:
        return Line("threads", finding)
    advice = "on shared cores threads make small batches up to 90 times slower: try OMP_NUM_THREADS=1"
    return Line("threads", finding, "note", advice)


def display_line(system: str, environ: Mapping[str, str]) -> Line:
    """Return whether a window can open on `system` (`sys.platform`) with these environment variables."""
    driver = environ.get("SDL_VIDEODRIVER")
    if driver in ("dummy", "offscreen"):
        return Line("display", f"SDL_VIDEODRIVER={driver}", "note", "windows stay invisible; unset it to see them")
    if system in ("win32", "darwin"):
        return Line("display", "the system's own")
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        if environ.get(name):
            return Line("display", f"{name}={environ[name]}")
    advice = 'no window can open; render_mode="rgb_array" and videos work. SDL_VIDEODRIVER=dummy silences the rest'
    return Line("display", "none: DISPLAY and WAYLAND_DISPLAY are not set", "note", advice)


def pygame_line(pygame: str | None, pygame_ce: str | None) -> Line:
    """Return whether pygame works, given the versions of the two distributions that install it (None: not installed).

    Both put their files into the same folder, so the last one installed wins and removing either breaks the other.
    """
    found = " and ".join(f"{name} {v}" for name, v in (("pygame", pygame), ("pygame-ce", pygame_ce)) if v) or "missing"
    cure = "pip uninstall -y pygame pygame-ce && pip install pygame-ce"
    if pygame and pygame_ce:
        return Line("pygame", f"{found} overwrite each other", "problem", cure)
    if not pygame_ce:
        return Line("pygame", f"{found}; pygame-ce is needed", "problem", cure if pygame else "pip install pygame-ce")
    if not _imports_pygame():
        return Line("pygame", f"{found} is damaged", "problem", cure)
    return Line("pygame", found)


def _version(name: str) -> Line:
    version = installed(name)
    return Line(name, version) if version else Line(name, "missing", "problem", f'pip install "{name}"')


def _extra(name: str, modules: tuple[str, ...]) -> Line:
    missing = [module for module in modules if util.find_spec(module) is None]
    if missing:
        return Line(f"[{name}]", f"no {', '.join(missing)}", "note", f'pip install "dreamgym[{name}]"')
    return Line(f"[{name}]", "installed")


def _device() -> Line:
    import torch

    if torch.cuda.is_available():
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        return Line("device", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, {bf16}")
    fast_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()  # absent from older torch
    advice = "the installed torch is a CPU build" if torch.version.cuda is None else "torch finds no CUDA device"
    return Line("device", f"CPU, {'bf16' if fast_bf16 else 'no fast bf16'}", "note", advice)


def _torch_lines() -> list[Line]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that torch needs is missing
        return [Line("torch", f"cannot be imported: {error}", "problem", "pip install --force-reinstall torch")]
    return [_device(), threads_line(torch.get_num_threads(), _cores(), os.environ.get("OMP_NUM_THREADS"))]


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _imports_pygame() -> bool:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        return bool(importlib.import_module("pygame").IS_CE)
    except (ImportError, AttributeError):
        return False
