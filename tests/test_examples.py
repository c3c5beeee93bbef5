"""Every example runs, is short, and ends with a number; `--smoke` takes seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PACKAGES = {"evolve_a_controller": "cma", "dream_from_your_recordings": "minari"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_a_number_at_its_end(example, tmp_path):
    if example.stem in PACKAGES:
        pytest.importorskip(PACKAGES[example.stem])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example), "--smoke"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d", done.stdout.splitlines()[-1])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(example):
    text = example.read_text()
    assert len(text.splitlines()) < (60 if example.stem == "bring_your_own_world_model" else 80)
    header = text.split('"""')[1]
    assert f"python examples/{example.name}" in header
    assert "--smoke" in header
    assert re.search(r"[Pp]rints", header)
