"""A video file is complete or absent, whatever happens while it is written."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from dreamgym.errors import DreamgymError, InvalidArgument, MissingExtra, NotWritable
from dreamgym.evaluation.video import Video, write_video

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
Image = pytest.importorskip("PIL.Image")

SCRIPT = """
import sys, time
import numpy as np
from dreamgym.errors import NotWritable
from dreamgym.evaluation.video import Video

path, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
rng = np.random.default_rng(0)
try:
    with Video(path, 25, preset="ultrafast") as video:
        for i in range(count):
            video.add(64 * rng.integers(0, 4, (200, 300, 3), np.uint8))
            print(i, flush=True)
            time.sleep(pause)
except NotWritable as error:
    print(error)
"""


def pictures(count, height=64, width=96):
    """Return pictures of nine large squares whose colours no others have."""
    colours = np.random.default_rng(0).integers(40, 216, (count, 3, 3, 3), np.uint8)
    rows = np.arange(height) * 3 // height
    return list(colours[:, rows][:, :, np.arange(width) * 3 // width])


def read_mp4(path):
    """Return the frames of an MP4 and its frames a second."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(command, capture_output=True, check=True)
    width, height, fps = re.search(rb"h264.* (\d+)x(\d+).* ([\d.]+) fps", decoded.stderr).groups()
    return list(np.frombuffer(decoded.stdout, np.uint8).reshape(-1, int(height), int(width), 3)), float(fps)


def read_gif(path):
    """Return the frames of a GIF and how many milliseconds each lasts."""
    with Image.open(path) as gif:
        frames, lasts = [], []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("RGB")))
            lasts.append(gif.info["duration"])
    return frames, lasts


def difference(one, other):
    """Return by how much two pictures differ in the middle of the squares."""
    middle = slice(10, None, 21), slice(16, None, 32)
    return np.abs(one[middle].astype(int) - other[middle]).max()


@pytest.fixture
def children():
    """Return a function that lists the processes begun in the test that have not been waited for."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    if not listed.exists():
        pytest.skip("this system does not list a process's children")
    before = set(listed.read_text().split())  # those of other tests' libraries
    return lambda: [child for child in listed.read_text().split() if child not in before]


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)


@pytest.mark.parametrize("fps", [5, 12.5, 50])
def test_an_mp4_holds_every_picture(tmp_path, fps):
    shown = pictures(8)
    path = write_video(shown, tmp_path / "new" / "video", fps)
    assert path == tmp_path / "new" / "video.mp4"
    assert list(path.parent.iterdir()) == [path]
    frames, rate = read_mp4(path)
    assert (len(frames), rate) == (8, fps)
    assert max(difference(*pair) for pair in zip(frames, shown, strict=True)) < 12


def test_a_picture_of_odd_size_is_not_stretched(tmp_path):
    (shown,) = pictures(1, 65, 97)
    (frame,), _ = read_mp4(write_video([shown], tmp_path / "video", 5))
    assert frame.shape == (66, 98, 3)
    assert difference(frame[:65, :97], shown) < 12


@pytest.mark.usefixtures("no_ffmpeg")
def test_without_ffmpeg_it_is_a_gif(tmp_path):
    shown = [picture for picture in pictures(4) for _ in range(2)]
    path = write_video(shown, tmp_path / "video.mp4", 5)
    assert path == tmp_path / "video.gif"
    assert list(tmp_path.iterdir()) == [path]
    frames, lasts = read_gif(path)  # equal pictures are one, shown for longer
    assert lasts == [400] * 4
    assert max(difference(*pair) for pair in zip(frames, shown[::2], strict=True)) < 3


def test_a_gif_draws_what_changed_where_it_changed(tmp_path):
    first = pictures(1)[0]
    second, third = first.copy(), first.copy()
    second[30:35, 50:70] = 255, 0, 0
    third[0, 0] = third[-1, -1] = 0, 255, 0
    frames, _ = read_gif(write_video([first, second, third], tmp_path / "video.gif", 5))
    for frame, shown in zip(frames, [first, second, third], strict=True):
        assert np.abs(frame.astype(int) - shown).max() < 3


@pytest.mark.parametrize(
    ("fps", "added", "kept", "seconds"), [(25, 10, 10, 0.4), (15, 30, 30, 2), (50, 10, 5, 0.2), (30, 30, 25, 1)]
)
def test_a_gif_lasts_as_long_as_it_should_with_25_pictures_a_second_at_most(tmp_path, fps, added, kept, seconds):
    _, lasts = read_gif(write_video(pictures(added), tmp_path / "video.gif", fps))
    assert (len(lasts), sum(lasts)) == (kept, 1000 * seconds)
    assert max(lasts) - min(lasts) <= 10


def test_a_long_gif_takes_no_more_memory_than_a_short_one(tmp_path):
    rng = np.random.default_rng(0)

    def peak(count):
        tracemalloc.start()
        with Video(tmp_path / f"{count}.gif", 25) as video:
            for _ in range(count):
                video.add(64 * rng.integers(0, 4, (100, 100, 3), np.uint8))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(3)  # Pillow is imported
    assert peak(60) < peak(6) + 100_000


@pytest.mark.parametrize(
    ("name", "written"),
    [("a", "a.mp4"), ("a.mp4", "a.mp4"), ("a.MP4", "a.mp4"), ("a.gif", "a.gif"), ("at 0.5", "at 0.5.mp4")],
)
def test_the_suffix_says_what_it_is(tmp_path, name, written):
    assert write_video(pictures(1), tmp_path / name, 5) == tmp_path / written


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_file_takes_its_place_when_it_is_complete(tmp_path, suffix):
    path = tmp_path / f"video{suffix}"
    path.write_text("an older video")
    with Video(path, 5) as video:
        for picture in pictures(3):
            video.add(picture)
        assert path.read_text() == "an older video"
    assert video.close() == path
    assert len((read_mp4 if suffix == ".mp4" else read_gif)(path)[0]) == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_what_was_added_before_an_exception_is_kept(tmp_path, suffix):
    def failing():
        yield from pictures(5)
        raise ZeroDivisionError

    path = tmp_path / f"video{suffix}"
    with pytest.raises(ZeroDivisionError):
        write_video(failing(), path, 5)
    assert len((read_mp4 if suffix == ".mp4" else read_gif)(path)[0]) == 5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_what_was_added_before_ctrl_c_is_kept(tmp_path, suffix):
    path = tmp_path / f"video{suffix}"
    command = [sys.executable, "-c", SCRIPT, str(path), "1000", "0.01"]
    recording = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    added = [recording.stdout.readline() for _ in range(12)]
    os.killpg(recording.pid, signal.SIGINT)  # as at a terminal: to ffmpeg too, if it listens
    rest, errors = recording.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    count = len(added) + rest.count(b"\n")
    frames = (read_mp4 if suffix == ".mp4" else read_gif)(path)[0]
    assert count <= len(frames) <= count + 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_without_a_picture_there_is_no_file(tmp_path, suffix):
    with Video(tmp_path / f"video{suffix}", 5) as video:
        pass
    assert video.close() is None
    with pytest.raises(InvalidArgument, match="there are 0 pictures for .*video"):
        write_video([], tmp_path / f"video{suffix}", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize(
    ("picture", "fault"),
    [
        (np.zeros((64, 96, 3), np.float32), r"a picture is float32 \(64, 96, 3\); expected uint8"),
        (np.zeros((64, 96), np.uint8), r"a picture is uint8 \(64, 96\)"),
        (np.zeros((64, 96, 4), np.uint8), r"a picture is uint8 \(64, 96, 4\)"),
        (np.zeros((96, 64, 3), np.uint8), r"a picture has shape \(96, 64, 3\); those of .* have \(64, 96, 3\)"),
    ],
)
def test_a_picture_of_another_kind_is_refused_and_the_video_goes_on(tmp_path, suffix, picture, fault):
    with Video(tmp_path / f"video{suffix}", 5) as video:
        for shown in pictures(2):
            video.add(shown)
            with pytest.raises(InvalidArgument, match=fault):
                video.add(picture)
    assert len((read_mp4 if suffix == ".mp4" else read_gif)(video.path)[0]) == 2


def test_a_closed_video_takes_no_more_pictures(tmp_path):
    with Video(tmp_path / "video", 5) as video:
        video.add(pictures(1)[0])
    with pytest.raises(NotWritable, match="video.mp4 is closed"):
        video.add(pictures(1)[0])
    assert list(tmp_path.iterdir()) == [video.path]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(tmp_path, fps):
    with pytest.raises(InvalidArgument, match="fps is .*; expected a positive number of pictures a second"):
        Video(tmp_path / "video", fps)


@pytest.mark.usefixtures("no_ffmpeg")
def test_without_pillow_too_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match=r'needs imageio-ffmpeg or Pillow: pip install "dreamgym\[video\]"'):
        Video(tmp_path / "video", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("file/video", "file is no folder"),
        ("file/deeper/video", "Not a directory"),
        ("/proc/video", "No such file or directory"),  # nobody can make a file there, not even root
    ],
)
def test_a_folder_that_cannot_be_written_is_named_at_once(tmp_path, suffix, path, fault):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotWritable, match=f"{path}{suffix} cannot be written: .*{fault}"):
        Video(tmp_path / f"{path}{suffix}", 5)


@pytest.mark.parametrize("when", ["adding", "closing"])
def test_an_ffmpeg_that_dies_leaves_nothing_behind(tmp_path, children, when):
    video = Video(tmp_path / "video", 5)
    video.add(pictures(1, 400, 600)[0])
    (ffmpeg,) = children()
    os.kill(int(ffmpeg), signal.SIGKILL)
    last = video.close if when == "closing" else lambda: [video.add(picture) for picture in pictures(20, 400, 600)]
    with pytest.raises(NotWritable, match=r"video.mp4 cannot be written: ffmpeg ended with status -9\."):
        last()
    assert video.close() is None
    assert list(tmp_path.iterdir()) == []
    assert children() == []


def test_an_ffmpeg_that_nobody_waits_for_leaves_nothing_behind(tmp_path, children):
    video = Video(tmp_path / "video", 5)
    video.add(pictures(1)[0])
    (ffmpeg,) = children()
    os.kill(int(ffmpeg), signal.SIGSTOP)
    Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        video.close()
    assert list(tmp_path.iterdir()) == []
    assert children() == []


def test_an_ffmpeg_that_refuses_is_quoted(tmp_path):
    with (
        pytest.raises(NotWritable, match="ffmpeg ended with status .* .*invalid preset 'none'"),
        Video(tmp_path / "video", 5, preset="none") as video,
    ):
        video.add(pictures(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_does_not_start_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/no/such/program")
    with pytest.raises(NotWritable, match="/no/such/program does not start .No such file or directory"):
        write_video(pictures(1), tmp_path / "video", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_file_that_may_not_grow_is_reported_and_leaves_nothing_behind(tmp_path, suffix):
    path = tmp_path / f"video{suffix}"
    command = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", sys.executable, "-c", SCRIPT, str(path), "100", "0"]
    recording = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert f"{path} cannot be written: " in recording.stdout
    assert (recording.stderr, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize("size", ["64k", "1m"])
def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path, suffix, size):
    own_disk = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size={size} tmpfs '{tmp_path}'"
    if not shutil.which("unshare") or subprocess.run([*own_disk, mount], capture_output=True).returncode:
        pytest.skip("no disk of our own can be mounted")
    path = tmp_path / f"video{suffix}"
    command = f"{mount} && \"$@\"; ls -A '{tmp_path}'"
    recording = subprocess.run(
        [*own_disk, command, "sh", sys.executable, "-c", SCRIPT, str(path), "100", "0"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert recording.stdout.splitlines()[-1].startswith(f"{path} cannot be written: ")
    assert "No space left on device" in recording.stdout.splitlines()[-1]
    assert recording.stderr == ""


def test_the_error_is_dreamgyms_and_an_os_error():
    assert issubclass(NotWritable, DreamgymError)
    assert issubclass(NotWritable, OSError)
