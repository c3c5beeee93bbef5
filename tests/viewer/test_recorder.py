"""Recordings run at a steady rate, and a failing one stops alone."""

import time
from itertools import cycle

import numpy as np
import pygame
import pytest

from dreamgym.errors import NotWritable
from dreamgym.evaluation.video import Video
from dreamgym.viewer.recorder import PIXELS, Recorder, frame_of

pytest.importorskip("imageio_ffmpeg")
from films import decode


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)
    return found


def surface(size=(64, 48), colour=(200, 40, 40)):
    made = pygame.Surface(size)
    made.fill(colour)
    return made


def test_a_frame_is_the_picture_row_by_row():
    made = surface()
    made.set_at((5, 2), (1, 2, 3))
    frame = frame_of(made)
    assert frame.shape == (48, 64, 3)
    assert tuple(frame[2, 5]) == (1, 2, 3)
    assert tuple(frame[0, 0]) == (200, 40, 40)


@pytest.mark.parametrize("pace", [7.0, 24.0, 30.0, 61.0, 200.0])
def test_a_second_is_a_second_however_fast_the_window_is(tmp_path, pace):
    recorder = Recorder(rate=30.0)
    recorder.start(tmp_path / "a.mp4")
    for _ in range(round(2 * pace)):
        assert recorder.add(surface(), 1 / pace) == ""
    assert recorder.seconds == pytest.approx(2.0, abs=0.2)
    recorder.close()
    assert len(decode(tmp_path / "a.mp4")) == pytest.approx(60, abs=5)


def test_a_large_window_is_recorded_smaller_in_its_proportions(tmp_path):
    recorder = Recorder()
    recorder.start(tmp_path / "a.mp4")
    recorder.add(surface((2560, 1600)), 0.01)
    recorder.close()
    height, width = decode(tmp_path / "a.mp4").shape[1:3]
    assert width * height <= PIXELS
    assert width / height == pytest.approx(1.6, abs=0.01)


def test_nothing_is_recorded_while_it_is_off(tmp_path):
    recorder = Recorder()
    assert recorder.add(surface(), 1.0) == ""
    assert recorder.seconds is None
    recorder.close()
    assert recorder.told == []
    recorder.start(tmp_path / "a.mp4")
    recorder.close()
    assert recorder.told == ["nothing was recorded"]
    assert list(tmp_path.iterdir()) == []


def test_several_recordings_follow_each_other(tmp_path):
    recorder = Recorder()
    for name in ("a.mp4", "b.mp4"):
        recorder.start(tmp_path / name)
        recorder.add(surface(), 0.1)
        recorder.close()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert len(recorder.told) == 2


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="cannot be written"):
        Recorder().start(tmp_path / "file" / "a.mp4")


def test_a_recording_that_can_no_longer_be_written_stops_and_leaves_nothing(tmp_path):
    recorder = Recorder()
    recorder.start(tmp_path / "a.mp4")
    recorder.add(surface(), 0.1)
    wait_for(lambda: recorder._writer.video._file)
    recorder._writer.video._file._process.kill()  # as the system does to an encoder without memory
    colours = cycle(np.random.default_rng(0).integers(0, 255, (50, 3)).tolist())
    said = wait_for(lambda: recorder.add(surface((64, 48), next(colours)), 0.1))
    assert said.startswith("the recording stopped: ")
    assert recorder.seconds is None
    recorder.close()
    assert list(tmp_path.iterdir()) == []
    assert recorder.told == [said]


def test_a_slow_encoder_makes_nobody_wait_and_the_video_keeps_its_time(tmp_path, monkeypatch):
    add = Video.add

    def slowly(video, frame):
        time.sleep(0.02)
        add(video, frame)

    monkeypatch.setattr(Video, "add", slowly)
    recorder, began = Recorder(rate=30.0), time.monotonic()
    recorder.start(tmp_path / "a.mp4")
    for _ in range(60):
        recorder.add(surface(), 1 / 30)
    assert time.monotonic() - began < 0.6, "60 pictures take the encoder 1.2 seconds"
    assert recorder.seconds == pytest.approx(2.0, abs=0.1)
    recorder.close()
    assert len(decode(tmp_path / "a.mp4")) == pytest.approx(60, abs=2)


def test_a_recording_is_completed_while_the_window_goes_on(tmp_path):
    recorder = Recorder()
    recorder.start(tmp_path / "a.mp4")
    for _ in range(4):
        assert recorder.add(surface(), 0.1) == ""
    recorder.stop()
    assert recorder.seconds is None
    assert wait_for(lambda: recorder.add(surface(), 0.1)) == f"{tmp_path / 'a.mp4'} holds the recording"
    assert recorder.add(surface(), 0.1) == ""
    assert len(decode(tmp_path / "a.mp4")) == pytest.approx(13, abs=2)
