"""What the documentation shows runs, leads somewhere, and is what the cards and reports say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import DATA, PAGES, PYTHON, ROOT, SHELL, Block, command, program, read_blocks

README = [block.text for block in read_blocks(ROOT / "README.md")]
LIBRARIES = ROOT / "docs" / "libraries.md"
FIRST = {  # page -> commands that make what its blocks begin with
    "offline.md": [
        "dreamgym collect Pendulum-v1 --out data/logs --episodes 20",
        "dreamgym train --data data/logs --model mlp_ensemble --out runs/my_dream",
    ],
}
SMALLER = {
    "offline.md": {"gradient_steps=4": "gradient_steps=1"},
    "planning.md": {"sac.learn(600": "sac.learn(220", "gradient_steps=32": "gradient_steps=1"},
}


def to_run(page: Path) -> list[Block]:
    """Return the blocks of a page that are run here: the others are excused, no code, or run as the README's."""
    blocks = read_blocks(page)
    return [b for b in blocks if not b.excused and b.language not in DATA and b.text not in README]


def run(page: Path, folder: Path) -> None:
    """Run a page's blocks in order, in one process and one folder."""
    first = [Block(page, "sh", "\n".join(FIRST[page.name]), False)] if page.name in FIRST else []
    code = program([*first, *to_run(page)], SMALLER.get(page.name))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MINARI_DATASETS_PATH": str(folder / "minari")}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if p != LIBRARIES and to_run(p)], ids=lambda page: page.name)
def test_its_blocks_run(page: Path, tmp_path: Path):
    run(page, tmp_path)


@pytest.mark.integration
def test_the_blocks_of_libraries_run(tmp_path: Path):
    for library in ("sb3_contrib", "skrl", "torchrl"):
        pytest.importorskip(library)
    run(LIBRARIES, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_run_or_says_why_not(page: Path):
    for block in read_blocks(page):
        assert block.language in (*SHELL, *PYTHON, *DATA), block.text
    for block in to_run(page):
        if block.language in SHELL:
            for line in block.text.replace("\\\n", " ").splitlines():
                assert command(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_hides_in_an_indented_block(page: Path):
    outside = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"\n\n    \S", outside)


def test_every_page_is_in_the_navigation():
    told = re.findall(r'"([\w/]+\.md)"', (ROOT / "zensical.toml").read_text())
    reports = (ROOT / "docs" / "reports").glob("*.md")  # the gallery leads to these
    there = set((ROOT / "docs").rglob("*.md")) - set(reports)
    assert sorted(told) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in there)


def test_the_changelog_names_pages_instead_of_linking_them():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "CHANGELOG.md").read_text())
    assert [link for link in links if "://" not in link] == []  # the site shows it from another folder


def test_a_shell_line_that_cannot_be_run_is_refused():
    with pytest.raises(ValueError, match="nvidia-smi"):
        command("nvidia-smi")


def test_the_start_page_has_the_readmes_two_commands():
    blocks = [block.text for block in read_blocks(ROOT / "docs" / "index.md")]
    assert blocks[:2] == README[:2]
