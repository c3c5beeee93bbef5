"""The notebooks ship with what they printed and drew, keep to the public API, and run, at small size, in CI."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
SMALL = {  # what the cell tagged "parameters" says, in seconds instead of minutes
    "from_planet_to_dreamer_v3": {
        "EPISODES": 20, "TRAINING": 5, "UPDATES": 2, "WINDOWS": 2, "SCORED": 2, "PLANNED": 2,
        "CANDIDATES": 4,
    },
    "inside_the_dream": {
        "EPISODES": 40, "V_STEPS": 20, "M_STEPS": 20, "GENERATIONS": 2, "DECISIONS": 2048, "LANES": 32, "SCORED": 2,
        "POLES": 100, "POLE_DECISIONS": 2048,
    },
    "planning_in_a_dream": {
        "TRAINING": 100, "HORIZON": 6, "CANDIDATES": 10, "EPISODES": 2, "OWN_EPISODES": 1, "ITERATIONS": 1,
    },
    "your_own_recordings": {
        "EPISODES": 10, "TRAINING": 50, "LANES": 8, "DECISIONS": 500, "SCORED": 2, "WINDOWS": 2,
    },
}  # fmt: skip
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    """Return the cells of a notebook of one kind, with their source as one text."""
    found = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]
    return [{**cell, "source": "".join(cell["source"])} for cell in found]


def test_there_are_notebooks_and_all_are_run_in_small():
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)


@each
def test_every_code_cell_was_executed_once_and_in_order_without_an_error(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert "error" not in kinds
    assert "stream" in kinds
    assert [name for cell in code for output in cell["outputs"] if (name := output.get("name")) == "stderr"] == []


@each
def test_there_is_a_picture_in_every_section_that_has_code_and_the_file_is_small(path):
    assert path.stat().st_size < 1_500_000
    sections = []  # each: its title, whether it has code, whether it has a picture
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if titles := re.findall(r"^## (.+)$", source, re.MULTILINE) if cell["cell_type"] == "markdown" else []:
            sections.append([titles[-1], False, False])
        elif sections and cell["cell_type"] == "code":
            sections[-1][1] = True
            sections[-1][2] |= any("image/png" in output.get("data", {}) for output in cell["outputs"])
    assert len(sections) >= 3
    assert [title for title, code, picture in sections if code and not picture] == []


@each
def test_it_says_at_the_top_what_to_expect_and_ends_with_three_exercises(path):
    prose = [cell["source"] for cell in cells(path, "markdown")]
    assert all(f"**{words}**" in prose[0] for words in ("You need", "It takes", "You will see"))
    assert "## Exercises" in prose[-1]
    assert re.findall(r"^(\d)\. ", prose[-1], re.MULTILINE) == ["1", "2", "3"]


@each
def test_every_local_link_in_it_exists(path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", "\n".join(cell["source"] for cell in cells(path, "markdown")))
    assert [target for target in targets if "://" not in target and not (path.parent / target).exists()] == []


@each
def test_sizes_stand_in_one_cell_and_no_cell_is_long(path):
    code = cells(path, "code")
    (parameters,) = (cell for cell in code if "parameters" in cell["metadata"].get("tags", []))
    named = {target.id for line in ast.parse(parameters["source"]).body for target in line.targets}
    assert set(SMALL[path.stem]) <= named
    assert [cell["source"] for cell in code if len(cell["source"].splitlines()) > 15] == []


@each
def test_only_the_public_api_is_used(path):
    tree = ast.parse("\n".join(cell["source"] for cell in cells(path, "code")))
    names = {"_"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names |= set(node.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            names |= set((node.module or "").split("."))
    dunder = re.compile(r"__\w+__")
    assert {name for name in names if name.startswith("_") and not dunder.fullmatch(name)} == {"_"}


@pytest.mark.slow
@each
def test_the_script_beside_it_says_the_same(path):
    jupytext = pytest.importorskip("jupytext")
    twins = [jupytext.read(path.with_suffix(suffix)).cells for suffix in (".ipynb", ".py")]
    ours, theirs = ([(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in twin] for twin in twins)
    assert ours == theirs


@pytest.mark.slow
@each
def test_it_runs(path, tmp_path):
    pytest.importorskip("papermill")
    out, sizes = (
        tmp_path / "done.ipynb",
        [part for pair in SMALL[path.stem].items() for part in ("-p", *map(str, pair))],
    )
    command = [sys.executable, "-m", "papermill", str(path), str(out), *sizes, "--cwd", str(tmp_path), "-k", "python3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all(cell["execution_count"] for cell in cells(out, "code"))
