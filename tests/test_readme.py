"""What the README tells a newcomer to type is true."""

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(*languages):
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def test_the_first_two_commands_install_with_the_tested_versions():
    first, second, *_ = blocks("bash", "sh")
    assert "-c constraints.txt" in first
    assert "dreamgym demo" in first
    assert "-c constraints.txt" in second
    assert "pytest" in second


def test_every_extra_that_it_names_exists():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = re.findall(r'"?(?:\.|dreamgym)\[([\w,-]+)\]', "".join(page.read_text() for page in PAGES))
    assert named
    assert {extra for names in named for extra in names.split(",")} <= set(config["options.extras_require"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_and_picture_exists(page):
    text = page.read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.slow
def test_its_python_runs():
    run = subprocess.run([sys.executable, "-c", "\n".join(blocks("python"))], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


FEWER = {
    "train": "--vae.steps 2 --vae.batch-size 4 --mdn-rnn.steps 2 --mdn-rnn.batch-size 2 --starts 50",
    "train-policy": "--decisions 16384",
    "eval": "--episodes 2",
    "play": "--headless --steps 5",
    "watch": "--steps 3 --video grid.mp4",
    "dreamer": "--steps 60 --prefill 40 --eval-episodes 1 --train-ratio 32",
}


def run_in_small(commands, folder):
    """Run commands of the README with options that make them short, and return what the last one printed."""
    for line in commands.replace("--episodes 500", "--episodes 20").replace("--steps 4000", "").splitlines():
        _, name, *rest = shlex.split(line)
        command = [sys.executable, "-m", "dreamgym", name, *rest, *shlex.split(FEWER.get(name, ""))]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_dream_is_played_and_watched_by_its_commands(tmp_path):
    assert "future 4" in run_in_small(blocks("bash", "sh")[-3], tmp_path)


@pytest.mark.slow
def test_a_dream_of_ones_own_is_made_by_its_commands(tmp_path):
    assert "dream - real" in run_in_small(blocks("bash", "sh")[-2], tmp_path)


@pytest.mark.slow
def test_a_world_and_a_policy_are_learned_together_by_its_command(tmp_path):
    assert "60 real steps" in run_in_small(blocks("bash", "sh")[-1], tmp_path)
