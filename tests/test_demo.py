"""The demo does the main job from beginning to end, and says what it cannot do before it spends minutes."""

import json
import os
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest
from tiny import save_tiny_dream

from dreamgym import cli, evaluate, load, load_policy
from dreamgym.demo import Plan, demo, make_plan, print_demo
from dreamgym.errors import DreamgymError, InvalidArgument
from dreamgym.evaluation.learning_curve import draw_curve
from dreamgym.hub import ship_policy

LANES = 16
UPDATE = LANES * 32  # decisions
QUICK = {"lanes": LANES, "decisions": 2 * UPDATE, "horizon": 20, "peak": 1.0, "note": "unknown keys are left alone"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny", policy_training=QUICK))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "demo"


@pytest.fixture(scope="module")
def figures(folder, out):
    return demo(folder, out=out, episodes=2, seed=5, workers=1, progress=False)


def test_it_trains_as_the_card_says(figures):
    training = figures["training"]
    assert (training["decisions"], training["lanes"], training["horizon"], training["peak"]) == (2 * UPDATE, 16, 20, 1)
    assert [point["decisions"] for point in training["curve"]] == [UPDATE, 2 * UPDATE]


def test_its_scores_are_those_of_evaluate(figures, folder, out):
    assert list(figures["policies"]) == ["random", "trained"]  # this dream ships none
    policy = out / "policy.safetensors"
    assert figures["policies"]["trained"] == evaluate(folder, policy, episodes=2, seed=5)
    assert figures["training"]["curve"][-1]["dream_return"] == figures["policies"]["trained"]["dream"]["mean"]


def test_it_writes_all_that_it_names_and_nothing_else(figures, folder, out):
    assert figures["notices"] == []
    assert {str(path) for path in out.iterdir()} == set(figures["files"].values())
    assert json.loads((out / "demo.json").read_text()) == figures
    load_policy(out / "policy.safetensors", load(folder))


def test_its_curve_begins_with_what_has_learned_nothing_and_says_why_it_may_come_down(folder, tmp_path, monkeypatch):
    drawn = Mock(wraps=draw_curve)
    monkeypatch.setattr("dreamgym.demo.draw_curve", drawn)
    found = demo(folder, out=tmp_path / "out", episodes=1, workers=1, progress=False)
    points, _, _, title = drawn.call_args.args
    assert points[0] == (0, found["policies"]["random"]["dream"]["mean"])
    assert [decisions for decisions, _ in points] == [0, UPDATE, 2 * UPDATE]
    assert title.endswith("\npromises above 1.0 a decision, more than reality pays, count against it")


def test_the_table_says_what_the_figures_say(figures, capsys):
    print_demo(figures)
    text = capsys.readouterr().out
    for name, score in figures["policies"].items():
        dream, real = score["dream"], score["real"]
        numbers = [f"{x:.1f}" for x in (dream["mean"], real["mean"], real["std"], real["min"])]
        assert [name, *numbers, f"{dream['mean'] - real['mean']:+.1f}"] in [line.split() for line in text.splitlines()]
    assert f"{figures['steps_per_second']['ratio']:,.0f} times as many" in text
    assert f"--policy {figures['files']['policy']}" in text


def test_a_shipped_policy_is_scored_too_and_json_prints_the_same_figures(figures, folder, out, tmp_path, capsys):
    shipping = str(save_tiny_dream(tmp_path / "tiny", policy_training=QUICK))
    ship_policy(shipping, load_policy(out / "policy.safetensors", load(folder)))
    with pytest.raises(SystemExit, match="0"):
        cli.main(["demo", "--dream", shipping, "--out", str(tmp_path / "out"), "--episodes", "1", "--workers", "1",
                  "--decisions", "1", "--json"])  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["policies"]) == ["random", "shipped", "trained"]
    assert printed == json.loads((tmp_path / "out" / "demo.json").read_text())
    assert printed["training"]["decisions"] == UPDATE  # a whole rollout


def test_training_ends_when_its_minutes_are_over(folder, tmp_path):
    figures = demo(folder, out=tmp_path, episodes=1, minutes=1e-4, decisions=10**9, workers=1, progress=False)
    assert figures["training"]["decisions"] == UPDATE


def test_without_matplotlib_and_pillow_two_notices_take_the_place_of_the_pictures(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    figures = demo(folder, out=tmp_path, episodes=1, decisions=1, workers=1, progress=False)
    assert set(figures["files"]) == {"policy", "figures"}
    print_demo(figures)
    text = capsys.readouterr().out
    assert 'Left out: a plot needs matplotlib: pip install "dreamgym[plots]"' in text
    assert 'Left out: a video needs Pillow: pip install "dreamgym[video]"' in text


def test_a_missing_simulator_is_told_before_the_training_and_nothing_is_written(tmp_path, monkeypatch):
    folder = save_tiny_dream(tmp_path / "tiny", real="CarRacing64-v0")
    monkeypatch.setitem(sys.modules, "dreamgym.real.car_pixels", None)  # as if Box2D were not installed
    with pytest.raises(DreamgymError, match=r"needs Box2D: pip install .*\[box2d\].*train-policy.*works without it"):
        demo(str(folder), out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_plan_is_the_cards_unless_told_otherwise():
    card = {"policy_training": {"decisions": 7, "peak": 4.2, "demo_minutes": 2.0}}
    assert make_plan(card, None, None) == Plan(decisions=7, peak=4.2, demo_minutes=2.0)
    assert make_plan(card, 0.5, 9) == Plan(decisions=9, peak=4.2, demo_minutes=0.5)
    assert make_plan({}, None, None) == Plan()
    assert make_plan(card, None, None).wrap == [("tent", {"peak": 4.2})]
    assert list(make_plan({}, None, None).wrap) == []


@pytest.mark.parametrize("given", [{"minutes": 0.0}, {"minutes": float("nan")}, {"decisions": -3}])
def test_no_time_and_no_decisions_are_refused(given):
    (name, value), *_ = given.items()
    with pytest.raises(InvalidArgument, match=f"{name} is {value}; expected more than 0"):
        make_plan({}, **{"minutes": None, "decisions": None, **given})


def test_an_interrupted_demo_goes_on_with_its_training_and_another_dream_is_no_hindrance(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("dreamgym.core.kept.KEEP_SECONDS", 0.0)
    out, options = tmp_path / "out", {"decisions": 4 * UPDATE, "episodes": 1, "workers": 1, "progress": False}
    with monkeypatch.context() as patch:
        checks = Mock(side_effect=[[Mock(total_reward=1.0)], [Mock(total_reward=2.0)], KeyboardInterrupt])
        patch.setattr("dreamgym.demo.dream_episodes", checks)  # the third is where it is interrupted
        with pytest.raises(KeyboardInterrupt):
            demo(folder, out=out, **options)
    (left,) = out.iterdir()
    with pytest.raises(InvalidArgument, match="unfinished was left by a training with episodes 1; give these to go on"):
        demo(folder, out=out, **{**options, "episodes": 2})
    other = save_tiny_dream(tmp_path / "other", seed=1, policy_training=QUICK)
    demo(str(other), out=out, **options)
    assert left.exists()
    training = demo(folder, out=out, **{**options, "progress": True})["training"]
    assert f"found {left}: going on where that training was interrupted" in capsys.readouterr().err
    assert not left.exists()
    assert [point["decisions"] for point in training["curve"]] == [UPDATE * n for n in (1, 2, 3, 4)]
    assert [point["dream_return"] for point in training["curve"][:2]] == [1.0, 2.0]  # as it was told
    seconds = [point["seconds"] for point in training["curve"]] + [training["seconds"]]
    assert seconds == sorted(seconds)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_ends_it_with_one_line_and_no_half_written_file(folder, tmp_path):
    command = [
        sys.executable,
        "-m",
        "dreamgym",
        "demo",
        "--dream",
        folder,
        "--out",
        str(tmp_path),
        "--decisions",
        str(10**9),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "training PPO" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # a shell says 130 of both: Python ends by the signal itself where that came while C code ran Python code
    assert process.returncode in (130, -signal.SIGINT), errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
