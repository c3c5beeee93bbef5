"""`dreamgym play` as a whole: a process is started, and what it leaves behind is looked at."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidArgument
from dreamgym.viewer.play import play

pytest.importorskip("imageio_ffmpeg")
from films import decode

CART, SMALL = "DreamCartPole-v0", ["--size", "480x360"]


def command(*arguments):
    return [sys.executable, "-m", "dreamgym", "play", *map(str, arguments)]


def run(*arguments, environment=(), **options):
    env = {**os.environ, **dict(environment)}
    return subprocess.run(command(*arguments), env=env, capture_output=True, text=True, timeout=300, **options)


def start(*arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*arguments), text=True, start_new_session=True, **pipes, **options)


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def children(process):
    """Return the ids of the processes that a process has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def test_without_a_window_the_policy_plays_into_a_video_and_a_dataset(tmp_path):
    video, data = tmp_path / "out.mp4", tmp_path / "data"
    done = run(CART, "--headless", "--steps", 60, "--video", video, "--record-data", data, "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["steps"] == 60
    assert figures["pictures"] in (60, 61), "50 a second of a dream of 50 steps a second"
    pictures = decode(video)
    assert len(pictures) == figures["pictures"]
    assert pictures.shape[1:] == (360, 480, 3)
    (episode,) = Dataset(data)
    assert len(episode) == 60
    assert episode.meta["driver"] == "policy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out.mp4"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_it_in_order_and_the_files_are_complete(tmp_path, number):
    video, data = tmp_path / "out.mp4", tmp_path / "data"
    process = start(CART, "--video", video, "--record-data", data, *SMALL)
    wait_for(lambda: process.poll() is not None or list(tmp_path.glob(".out.mp4*")))
    time.sleep(2.0)
    encoders = children(process)
    process.send_signal(number)
    told, faults = process.communicate(timeout=60)
    assert process.returncode == 128 + number, faults
    assert "Traceback" not in faults
    assert f"ended by {number.name}" in faults
    assert f"{video} holds the recording" in told
    assert len(decode(video)) > 5
    assert sum(map(len, Dataset(data))) > 5
    assert encoders
    for pid in encoders:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out.mp4"]


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


@pytest.mark.slow
def test_a_full_disk_stops_the_recording_and_not_the_play(tmp_path):
    done = run("DreamCarRacing-v0", "--steps", 80, "--video", tmp_path / "out.mp4", preexec_fn=limit_files)
    assert done.returncode == 0, done.stderr
    assert "the recording stopped: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("80 steps")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_ends_a_run_that_is_only_for_its_video(tmp_path):
    done = run(
        "DreamCarRacing-v0", "--headless", "--steps", 80, "--video", tmp_path / "out.mp4", preexec_fn=limit_files
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["--real", "--side-by-side"])
def test_playing_the_real_twin_makes_training_data(tmp_path, mode):
    data = tmp_path / "data"
    done = run(CART, mode, "--headless", "--steps", 120, "--record-data", data, *SMALL)
    assert done.returncode == 0, done.stderr
    assert Dataset(data).env_id == "CartPole-v1"
    out = tmp_path / "dream"
    train = [sys.executable, "-m", "dreamgym", "train", "--data", str(data), "--out", str(out), "--model", "rssm",
             "--rssm.steps", "2", "--holdout", "0"]  # fmt: skip
    trained = subprocess.run(train, capture_output=True, text=True, timeout=300)
    assert trained.returncode == 0, trained.stderr


@pytest.mark.slow
@pytest.mark.parametrize("dream", ["DreamCarRacing-v0", "DreamDodge-v0", "DreamPendulum-v0"])
@pytest.mark.parametrize("mode", [[], ["--real"], ["--side-by-side"], ["--policy", "none"]])
def test_every_dream_can_be_shown_in_every_mode(dream, mode):
    done = run(dream, *mode, "--headless", "--steps", 20, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("20 steps")


@pytest.mark.slow
def test_a_window_plays_for_as_many_steps_as_it_is_told(tmp_path):
    done = run(CART, "--steps", 30, "--video", tmp_path / "a.gif", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'a.gif'} holds the recording")
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")


def test_without_keys_the_policy_drives_and_without_both_nobody_could(monkeypatch):
    def no_keys(*args, **kwargs):
        raise InvalidArgument("no keys are usual")

    monkeypatch.setattr("dreamgym.viewer.session.keys_to_action", no_keys)
    assert play(CART, headless=True, steps=5, size=(480, 360)).steps == 5
    with pytest.raises(InvalidArgument, match="neither keys nor a policy"):
        play(CART, headless=True, steps=5, policy=None)


def test_the_handlers_of_signals_are_what_they_were():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    play(CART, headless=True, steps=2, size=(480, 360))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
