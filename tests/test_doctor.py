"""The doctor finds what is wrong, names it, and says what to do."""

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dreamgym
from dreamgym import doctor

ROOT = Path(__file__).parents[1]


def test_the_report_covers_every_topic():
    topics = [line.topic for line in doctor.report()]
    assert topics[:2] == ["python", "dreamgym"]
    assert {*doctor.REQUIRED, "[box2d]", "device", "threads", "display", "pygame"} <= set(topics)


def test_every_line_that_is_not_ok_says_what_to_do():
    assert all(line.advice for line in doctor.report() if line.state != "ok")


def test_json_and_text_show_the_same_findings(capsys):
    doctor.main(json=True)
    lines = json.loads(capsys.readouterr().out)
    doctor.main()
    text = capsys.readouterr().out
    assert {"topic": "dreamgym", "finding": dreamgym.__version__, "state": "ok", "advice": ""} in lines
    assert all(line["finding"] in text and line["advice"] in text for line in lines)


def test_the_exit_status_tells_of_a_problem():
    broken = "import sys; sys.modules['torch'] = None; from dreamgym import doctor; sys.exit(doctor.main())"
    run = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 1, run.stderr
    assert "torch" in run.stdout
    assert "cannot be imported" in run.stdout


def test_two_pygames_overwrite_each_other():
    line = doctor.pygame_line("2.6.1", "2.5.8")
    assert line.state == "problem"
    assert line.finding == "pygame 2.6.1 and pygame-ce 2.5.8 overwrite each other"
    assert line.advice == "pip uninstall -y pygame pygame-ce && pip install pygame-ce"


def test_the_old_pygame_alone_is_replaced():
    line = doctor.pygame_line("2.6.1", None)
    assert (line.state, line.finding) == ("problem", "pygame 2.6.1; pygame-ce is needed")
    assert "uninstall" in line.advice


def test_no_pygame_at_all_is_installed():
    assert doctor.pygame_line(None, None).advice == "pip install pygame-ce"


def test_a_pygame_that_lost_its_files_is_damaged(tmp_path):
    (tmp_path / "pygame").mkdir()  # what uninstalling the other one leaves behind: a package without contents
    (tmp_path / "pygame" / "__init__.py").touch()
    code = "from dreamgym.doctor import pygame_line as line; print(line(None, '2.5.8').finding)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert run.stdout.strip() == "pygame-ce 2.5.8 is damaged"


@pytest.mark.parametrize(
    ("system", "environ", "finding", "state"),
    [
        ("linux", {}, "none: DISPLAY and WAYLAND_DISPLAY are not set", "note"),
        ("linux", {"DISPLAY": ":0"}, "DISPLAY=:0", "ok"),
        ("linux", {"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-1"}, "WAYLAND_DISPLAY=wayland-1", "ok"),
        ("linux", {"DISPLAY": ":0", "SDL_VIDEODRIVER": "dummy"}, "SDL_VIDEODRIVER=dummy", "note"),
        ("darwin", {}, "the system's own", "ok"),
    ],
)
def test_the_display_is_where_a_window_would_open(system, environ, finding, state):
    line = doctor.display_line(system, environ)
    assert (line.finding, line.state) == (finding, state)


def test_the_doctor_knows_the_extras_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert set(doctor.EXTRAS) == set(config["options.extras_require"]) - {"demo", "test", "dev"}


def test_more_than_one_thread_gets_the_advice_to_use_one():
    assert doctor.threads_line(1, 2, "1") == doctor.Line("threads", "1 for torch, 2 cores, OMP_NUM_THREADS=1")
    line = doctor.threads_line(8, 4, None)
    assert (line.finding, line.state) == ("8 for torch, 4 cores, OMP_NUM_THREADS=unset", "note")
    assert "OMP_NUM_THREADS=1" in line.advice
