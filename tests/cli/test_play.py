"""The options of `dreamgym play`, and the one line that it prints when something is wrong."""

import os
import subprocess
import sys

import pytest
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym.cli.commands import main
from dreamgym.cli.play import parse_size
from dreamgym.errors import InvalidArgument

CART = "DreamCartPole-v0"


def fails(capsys, *arguments):
    """Return the line that is printed before the exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main(["play", *map(str, arguments)])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told


def test_a_size_is_width_times_height():
    assert parse_size("1280x800") == (1280, 800)
    assert parse_size("640X480") == (640, 480)
    assert parse_size(None) is None


@pytest.mark.parametrize("text", ["1280", "1280x", "ax b", "1x2x3"])
def test_a_size_that_is_none_is_named(text):
    with pytest.raises(InvalidArgument, match=f"size is {text!r}; expected WIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["DreamCar"], "unknown dream 'DreamCar'"),
        ([CART, "--variant", "x"], "unknown variant of DreamCartPole-v0 'x'"),
        ([CART, "--policy", "no/such.safetensors"], "no/such.safetensors"),
        ([CART, "--temperature", "0"], "temperature is 0"),
        ([CART, "--rate", "-1"], "rate is -1"),
        ([CART, "--steps", "0"], "steps is 0; expected at least 1"),
        ([CART, "--fps", "0"], "fps is 0"),
        ([CART, "--size", "20x20"], "size is 20x20; expected 480x360 to 8192x8192"),
        ([CART, "--real", "--side-by-side"], "real and side_by_side are both True"),
    ],
)
def test_a_bad_option_is_one_line(capsys, arguments, told):
    assert told in fails(capsys, *arguments, "--headless")


def test_the_policy_of_another_dream_is_refused(capsys, tmp_path):
    dream, other = (save_tiny_dream(tmp_path / name, seed) for seed, name in enumerate(("one", "other")))
    policy = save_tiny_policy(tmp_path / "policy.safetensors", other)
    assert "policy" in fails(capsys, dream, "--policy", policy, "--headless")


def test_a_folder_of_something_else_is_refused_before_playing(capsys, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    assert "is not empty and no dataset" in fails(capsys, CART, "--headless", "--record-data", tmp_path)


def test_a_video_that_cannot_be_written_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails(capsys, CART, "--headless", "--video", tmp_path / "file" / "a.mp4")


def test_without_a_display_one_line_says_what_to_do():
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SDL_", "DISPLAY", "WAYLAND"))}
    done = subprocess.run(
        [sys.executable, "-m", "dreamgym", "play", CART], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "error: no window can open: there is no display." in done.stderr
    assert "--headless" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dream_of_a_folder_is_played(capsys, tmp_path):
    dream = save_tiny_dream(tmp_path / "tiny")
    with pytest.raises(SystemExit) as caught:
        main(["play", str(dream), "--headless", "--steps", "5", "--size", "480x360"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("5 steps, ")
