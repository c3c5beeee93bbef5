"""The program under a real display with real key presses, where Xvfb and xdotool are installed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from dreamgym.data.episodes import Dataset
from dreamgym.real.car_drivers import FULL_LOCK

pytest.importorskip("imageio_ffmpeg")
from films import decode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool"),
]


LIBRARY = """
import ctypes, sys

x = ctypes.CDLL("libX11.so.6")
for name in ("XOpenDisplay", "XInternAtom", "XDefaultRootWindow"):
    getattr(x, name).restype = ctypes.c_ulong
x.XInternAtom.argtypes = [ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
x.XDefaultRootWindow.argtypes = x.XCloseDisplay.argtypes = [ctypes.c_ulong]
x.XSendEvent.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
x.XSetInputFocus.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_int, ctypes.c_ulong]
display = x.XOpenDisplay(None)
"""
# what a window manager sends when somebody clicks on the cross; xdotool has no such thing
CLOSE = f"""{LIBRARY}
class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong), ("message_type", ctypes.c_ulong),
                ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("pad", ctypes.c_long * 24)]


window = int(sys.argv[1])
data = (ctypes.c_long * 5)(x.XInternAtom(display, b"WM_DELETE_WINDOW", 0), 0, 0, 0, 0)
message = Message(33, 0, 1, display, window, x.XInternAtom(display, b"WM_PROTOCOLS", 0), 32, data)
x.XSendEvent(display, window, 0, 0, ctypes.byref(message))
x.XCloseDisplay(display)
"""
LOOK_AWAY = f"""{LIBRARY}
x.XSetInputFocus(display, x.XDefaultRootWindow(display), 1, 0)
x.XCloseDisplay(display)
"""


@pytest.fixture(scope="module")
def display():
    """Return the name of a display that nobody sees."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


class Player:
    """A running `dreamgym play`, with a hand at its keyboard and mouse."""

    def __init__(self, display, arguments, folder):
        self.env = {key: value for key, value in os.environ.items() if key != "SDL_VIDEODRIVER"} | {"DISPLAY": display}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dreamgym", "play", *map(str, arguments), "--size", "1000x640"],
            env=self.env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.window = ""

    def xdotool(self, *arguments):
        command = ["xdotool", *map(str, arguments)]
        return subprocess.run(command, env=self.env, capture_output=True, text=True).stdout.split()

    def wait_until_shown(self):
        deadline = time.monotonic() + 120
        while not self.window:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            self.window = next(iter(self.xdotool("search", "--pid", self.process.pid)), "")
            time.sleep(0.1)
        time.sleep(3.0)  # it plays
        self.xdotool("windowfocus", self.window)
        time.sleep(0.3)

    def press(self, *keys, pause=0.3):
        for key in keys:
            self.xdotool("key", key)
            time.sleep(pause)

    def hold(self, seconds, *keys):
        for key in keys:
            self.xdotool("keydown", key)
        time.sleep(seconds)
        for key in keys:
            self.xdotool("keyup", key)

    def end(self):
        """Return exit status and both outputs."""
        told, faults = self.process.communicate(timeout=60)
        return self.process.returncode, told, faults


@pytest.fixture
def play(display, tmp_path):
    players = []

    def begin(*arguments):
        players.append(Player(display, arguments, tmp_path))
        players[-1].wait_until_shown()
        return players[-1]

    yield begin
    for player in players:
        with suppress(ProcessLookupError):
            player.process.kill()
        player.process.wait()
        for pipe in (player.process.stdout, player.process.stderr):
            pipe.close()


@pytest.mark.parametrize(("name", "side"), [("Left", -1), ("Right", 1), ("a", -1), ("d", 1)])
def test_the_wheel_turns_to_the_key_that_is_held(play, tmp_path, name, side):
    player = play("DreamCarRacing-v0", "--record-data", "data")
    player.press("n")
    player.hold(1.5, name)
    player.press("q")
    assert player.end()[0] == 0
    episode = Dataset(tmp_path / "data")[-1]
    assert episode.meta["driver"] == "person"
    steering = episode.action[:, 0] * side
    assert np.sum(steering == FULL_LOCK) >= 3, "the wheel goes all the way"


def test_several_keys_act_together(play, tmp_path):
    player = play("DreamCarRacing-v0", "--record-data", "data")
    player.press("n")
    player.hold(1.5, "Up", "Left")
    player.press("q")
    assert player.end()[0] == 0
    steer, gas, _ = Dataset(tmp_path / "data")[-1].action.T
    assert np.any((steer < -FULL_LOCK / 2) & (gas > 0.1))


def test_backspace_takes_steps_back(play, tmp_path):
    player = play("DreamCartPole-v0", "--record-data", "data", "--seed", "3")
    player.press("n", "space")
    player.press(*["period"] * 8, pause=0.15)
    player.press(*["BackSpace"] * 5, pause=0.15)
    player.press("q")
    assert player.end()[0] == 0
    left = Dataset(tmp_path / "data")[-1]
    player = play("DreamCartPole-v0", "--record-data", "other", "--seed", "3")
    player.press("n", "space")
    player.press(*["BackSpace"] * 40, pause=0.05)
    player.press(*["period"] * 3, pause=0.15)
    player.press("q")
    assert player.end()[0] == 0
    again = Dataset(tmp_path / "other")[-1]
    shared = min(len(left), len(again), 3)
    assert shared == 3
    assert np.array_equal(left.obs[: shared + 1], again.obs[: shared + 1])


@pytest.mark.parametrize("how", ["windowclose", "q", "Escape"])
def test_quitting_while_recording_leaves_a_complete_film_and_no_process(play, tmp_path, how):
    player = play("DreamDodge-v0")
    player.press("r")
    time.sleep(2.0)
    encoders = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(player.process.pid)], capture_output=True, text=True
    ).stdout.split()
    assert encoders
    if how == "windowclose":
        subprocess.run([sys.executable, "-c", CLOSE, player.window], env=player.env, check=True)
    else:
        player.press(how)
    status, told, faults = player.end()
    assert status == 0, faults
    assert "Traceback" not in faults
    (film,) = (tmp_path / "runs" / "play").iterdir()
    assert f"{film.relative_to(tmp_path)} holds the recording" in told
    assert len(decode(film)) > 10
    for pid in encoders:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.mark.parametrize("option", ["--real", "--side-by-side"])
@pytest.mark.parametrize("mode", ["space", "h", "m", "f", "Tab", "v"])
def test_every_mode_can_be_quit(play, option, mode):
    player = play("DreamCartPole-v0", option)
    player.press(mode)
    player.press("q")
    status, _, faults = player.end()
    assert status == 0, faults
    assert "Traceback" not in faults


def test_letting_the_window_out_of_sight_lets_go_of_the_keys(play, tmp_path):
    player = play("DreamCarRacing-v0", "--policy", "none", "--record-data", "data")
    player.press("n")
    player.xdotool("keydown", "Left")
    time.sleep(1.0)
    subprocess.run([sys.executable, "-c", LOOK_AWAY], env=player.env, check=True)
    time.sleep(2.5)
    player.process.terminate()  # the key is still down
    assert player.end()[0] == 128 + signal.SIGTERM
    player.xdotool("keyup", "Left")
    steering = Dataset(tmp_path / "data")[-1].action[:, 0]
    assert np.isclose(steering.min(), -FULL_LOCK)
    assert steering[-1] == 0.0
