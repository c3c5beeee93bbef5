"""The reports of the shipped dreams: what the documentation shows, the JSON holds and the card says is the same."""

import json
from pathlib import Path

import pytest

from dreamgym.hub import read_card
from dreamgym.registry import DREAMS
from dreamgym.report.config import FIRST_SEED
from dreamgym.report.page import to_markdown
from dreamgym.report.write import key_figures

FOLDER = Path(__file__).parents[2] / "docs" / "reports"
REPORTS = sorted(FOLDER.glob("*.json"))
FOLDERS = {folder.name: folder for dream in DREAMS.values() for folder in dream.variants.values()}


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_shipped_dreams_card_says_what_its_report_does(path: Path):
    report, card = json.loads(path.read_text()), read_card(FOLDERS[path.stem])
    assert report["dream"]["weights_sha256"] == card["files"]["weights.safetensors"]
    assert card["report"] == key_figures(report)


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_its_markdown_is_that_of_its_json(path: Path):
    assert path.with_suffix(".md").read_text() == to_markdown(json.loads(path.read_text()))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_its_seeds_are_those_on_which_nothing_was_chosen(path: Path):
    report = json.loads(path.read_text())
    assert report["config"]["seed"] == FIRST_SEED
    assert all(abs(seed - FIRST_SEED) >= 1_000_000 for seed in report["selection"])


def test_every_card_with_a_report_has_it_in_the_documentation():
    told = {name for name, folder in FOLDERS.items() if folder.is_dir() and "report" in read_card(folder)}
    assert told == {path.stem for path in REPORTS}
