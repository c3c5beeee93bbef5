"""The benchmarks that fill tables: what is scored, what a row keeps, what is told of rows."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lines import line_dream
from tiny import save_tiny_dream

from dreamgym.bridges.sb3_ppo import PPOConfig
from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import load
from dreamgym.real.dodge_world import DodgeWorld

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> Any:
    sys.path.insert(0, str(BENCHMARKS))  # they import each other, as scripts do
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


lessons, temperature, mixtures, families, ablation = map(
    script, ("lessons", "temperature_table", "mixtures", "families_table", "car_ablation")
)  # fmt: skip


def score(real: float, std: float = 0.0, episodes: int = 4) -> Any:
    return lessons.Score(
        own=3.0, own_std=0.5, learned=2.0, learned_std=0.5, real=real, real_std=std, real_min=1.0, episodes=episodes,
        seconds=2.5,
    )  # fmt: skip


def rows(*reals: float, std: float = 0.0) -> list[Any]:
    lesson = lessons.Lesson(world="W", dreams="1.00")
    return [(replace(lesson, seed=seed), score(real, std)) for seed, real in enumerate(reals)]


def test_a_row_on_disk_is_what_was_written(tmp_path: Path):
    written = rows(10.0, 20.0)
    assert lessons.read_rows(tmp_path / "t.csv") == []
    for row in written:
        lessons.append_row(tmp_path / "t.csv", *row)
    assert lessons.read_rows(tmp_path / "t.csv") == written


def test_the_error_of_a_mean_is_the_larger_one_of_episodes_and_of_seeds():
    apart = lessons.mean(rows(10.0, 20.0, std=2.0), "real")
    assert (apart.value, apart.each) == (15.0, (10.0, 20.0))
    assert apart.error == pytest.approx(5.0)  # half of the distance of two seeds
    together = lessons.mean(rows(15.0, 15.0, std=4.0), "real")
    assert together.error == pytest.approx(4 / 8**0.5)  # two times four episodes
    assert lessons.mean(rows(15.0, std=4.0), "real").error == pytest.approx(2.0)


def test_a_lesson_is_scored_as_dreamgym_eval_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    lesson = lessons.Lesson(world="tiny", dreams="0.10", horizon=5, decisions=64)
    kept: list[Any] = []
    export = lessons.export_policy
    monkeypatch.setattr(lessons, "export_policy", lambda *args: kept.append(export(*args)) or kept[-1])
    wrap = [("temperature", {"temperature": 0.1})]
    config = PPOConfig(rollout=4, hidden=(8,), minibatch=8)
    found = lessons.take(dream, lesson, wrap, config, lanes=8, episodes=3, first_seed=70)
    figures = evaluate(dream, kept[0], episodes=3, seed=70)
    assert found.real == pytest.approx(figures["real"]["mean"])
    assert found.real_min == figures["real"]["min"]
    assert found.learned == pytest.approx(figures["dream"]["mean"])
    assert found.own != found.learned


def test_the_penalty_is_not_taken_from_the_score_in_its_own_dreams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    ones = np.ones(2)
    monkeypatch.setattr(lessons, "train_ppo", lambda *_, **__: (None, None))
    monkeypatch.setattr(lessons, "export_policy", lambda *_: "random")
    monkeypatch.setattr(lessons, "dream_returns", lambda *args: seen.append(list(args[3:])) or ones)
    monkeypatch.setattr(lessons, "play_in_lockstep", lambda *_: [])
    monkeypatch.setattr(lessons, "returns", lambda _: ones)
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    wrap = [("temperature", {"temperature": 2.0}), ("penalize_disagreement", {"weight": 1.0})]
    lesson = lessons.Lesson(world="tiny", dreams="penalty")
    lessons.take(dream, lesson, wrap, PPOConfig(), lanes=1, episodes=2, first_seed=0)
    assert seen == [[], [wrap[:1]]]


def test_rows_that_exist_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    taken: list[Any] = []
    monkeypatch.setattr(temperature, "load", lambda *_: None)
    monkeypatch.setattr(temperature, "take", lambda dream, lesson, *_, **__: taken.append(lesson) or score(5.0))
    options = temperature.Options(variants=("rssm",), temperatures=("0.10", "random"), out=tmp_path)
    temperature.fill(options)
    assert [(lesson.dreams, lesson.seed) for lesson in taken] == [
        ("0.10", 0),
        ("random", 0),
        ("0.10", 1),
        ("random", 1),
    ]
    temperature.fill(replace(options, temperatures=("0.10", "1.00", "random")))
    assert [lesson.dreams for lesson in taken[4:]] == ["1.00", "1.00"]
    assert len(lessons.read_rows(tmp_path / "results.csv")) == 6


def test_a_table_begins_with_the_cold_dreams_and_ends_with_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lesson = lessons.Lesson(world="W", dreams="random")
    shuffled = [(replace(lesson, dreams=name), score(9.0)) for name in ("random", "1.30", "0.10", "penalty", "1.00")]
    other = [(replace(lesson, starts="first"), score(7.0)), (replace(lesson, decisions=9), score(8.0))]
    found = temperature.tables([*shuffled, *other])
    usual = ("W", "all", 100, lesson.decisions)
    assert set(found) == {usual, ("W", "first", 100, lesson.decisions), ("W", "all", 100, 9)}
    assert list(found[usual]) == ["0.10", "1.00", "1.30", "penalty", "random"]
    temperature.print_tables(found)
    assert "| 0.10 | 3 ± 0 | 2 ± 0 | 9 ± 0 | 9 |" in capsys.readouterr().out
    temperature.draw(found, tmp_path / "plots" / "t.png")
    assert (tmp_path / "plots" / "t.png").stat().st_size > 10_000


def test_what_is_done_to_dreams_is_said_by_their_name():
    assert temperature.wrap_for("0.10", 2.0) == [("temperature", {"temperature": 0.1})]
    assert temperature.wrap_for("random", 2.0) == [("random_temperature", {})]
    assert temperature.wrap_for("penalty", 2.0) == [("penalize_disagreement", {"weight": 2.0})]


def test_one_of_both_futures_of_a_fork_comes_true():
    came: set[str] = set()
    for fork in mixtures.find_forks(6, seed=830_000):
        window = lambda pictures, fork=fork: fork.window(torch.from_numpy(pictures).movedim(-1, 0))  # noqa: E731
        assert np.array_equal(fork.left[0], fork.seen[-1])
        sides = {"left": window(fork.left[2]), "right": window(fork.right[2])}
        assert not torch.equal(sides["left"], sides["right"])
        for seed in range(830_000, 830_100):  # the episode that it is of
            world = DodgeWorld(1)
            world.seed(0, seed)
            world.reset(np.array([0]))
            pictures = [world.draw(np.array([0]))[0]]
            for _ in range(len(fork.seen) + 1):
                world.step(np.zeros(1, np.int64))
                pictures.append(world.draw(np.array([0]))[0])
            if np.array_equal(np.stack(pictures[:-2]), fork.seen):
                came |= {name for name, side in sides.items() if torch.equal(side, window(pictures[-1]))}
                break
    assert came == {"left", "right"}


def test_the_window_of_a_fork_holds_the_whole_branch():
    for fork in mixtures.find_forks(10, seed=830_000):
        gap = torch.from_numpy(np.abs(fork.left.astype(int) - fork.right)).movedim(-1, 1)
        assert fork.window(gap).sum() == gap.sum() > 0


@pytest.mark.parametrize(("dreamed", "expected"), [("left", (0, 1, 0)), ("right", (0, 1, 1)), ("between", (1, 0, 0))])
def test_a_dream_is_as_far_from_the_nearer_future_as_it_looks(
    dreamed: str, expected: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    fork = mixtures.find_forks(1, seed=830_000)[0]
    left, right = (mixtures.encode_obs(dream.model.observation_space, side) for side in (fork.left, fork.right))
    picture = {"left": left, "right": right, "between": (left + right) / 2}[dreamed]
    monkeypatch.setattr(mixtures, "dream_on", lambda *_: picture[None].repeat(3, 1, 1, 1, 1))
    assert mixtures.distance(dream, fork, 3) == pytest.approx(expected, abs=1e-5)


def test_dreams_of_a_fork_begin_with_what_was_seen_and_differ_after_it(tmp_path: Path):
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    fork = mixtures.find_forks(1, seed=830_000)[0]
    pictures = mixtures.dream_on(dream, fork, 3)
    assert pictures.shape == (3, mixtures.AHEAD + 2, 3, 64, 64)
    assert torch.equal(pictures[0, 0], pictures[1, 0])
    assert not torch.equal(pictures[0, -1], pictures[1, -1])
    mixtures.draw({1: dream}, fork, tmp_path / "mixtures.png")
    assert (tmp_path / "mixtures.png").stat().st_size > 10_000


@pytest.mark.parametrize("scratch", [False, True])
def test_another_number_of_gaussians_keeps_v_and_may_keep_the_memory(scratch: bool, tmp_path: Path):
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    model = mixtures.with_mixtures(dream, 1, scratch)
    old, new = dream.model.state_dict(), model.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if name.startswith("vae."))
    assert torch.equal(old["lstm.weight"], new["lstm.weight"]) is not scratch
    assert len(new["heads.weight"]) == 3 * 1 * 4 + 2


def test_families_are_told_by_the_figures_of_a_report(tmp_path: Path):
    collect("Line-v0", tmp_path / "data", episodes=24, seed=1, progress=False)
    options = families.Options(windows=24, draws=5, horizon=12)
    cells = {}
    for name, dream in {"exact": line_dream(), "drifting": line_dream(drift=0.4, ends=False)}.items():
        figures = families.measure(dream.model, Dataset(tmp_path / "data"), options)
        score_of = {"mean": 8.0, "std": 4.0, "episodes": 16}
        cells[name] = dict(
            zip(families.HEADER, families.row(name, "line", {**figures, "weights": 7, "score": score_of}), strict=True)
        )
    assert cells["exact"][families.HEADER[3]].split(" / ")[0].startswith("0")
    assert cells["exact"][families.HEADER[3]].endswith(" / -")  # nothing was dreamed for 50 steps
    assert cells["exact"]["recall / precision"] == "100% / 100%"
    assert cells["drifting"]["recall / precision"] == "0% / -"
    assert cells["exact"]["shipped policy, real"] == "8 ± 1"
    lines = families.to_markdown([list(cells["exact"].values())]).splitlines()
    assert {line.count("|") for line in lines} == {len(families.HEADER) + 1}


def test_an_untrained_memory_reads_along_and_v_alone_sees_nothing_of_it(tmp_path: Path):
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    model: Any = dream.model
    obs, action = torch.rand(2, 3, 64, 64), torch.eye(3)[:2]
    yes, no = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    zeros = torch.zeros(2, model.noise_dim)
    seen = {name: ablation.seen_by(dream, name, 0).model for name in ablation.SENSES}
    states = {name: own.observe(own.initial(2), action, obs, yes, zeros) for name, own in seen.items()}
    with torch.no_grad():
        after = {name: own.step(states[name], action, zeros).state for name, own in seen.items()}
        plain = model.step(model.observe(model.initial(2), action, obs, yes, zeros), action, zeros).state
    shown = {name: own.features(after[name]) for name, own in seen.items()}
    assert torch.equal(shown["V"], plain.z)
    assert torch.equal(shown["V and M"], torch.cat([plain.z, plain.h], 1))
    reservoir = shown["V and untrained M"]
    assert torch.equal(reservoir[:, :4], plain.z)  # the same dream
    assert reservoir[:, 4:].abs().sum() > 0
    assert not torch.allclose(reservoir[:, 4:], plain.h)
    own = seen["V and untrained M"]
    watched = own.observe(states["V and untrained M"], action, obs, no, zeros)
    assert torch.equal(watched.h, after["V and untrained M"].h)  # what is imagined and what is seen are read alike
    assert own.observe(watched, action, obs, yes, zeros).h.abs().sum() == 0


@pytest.mark.parametrize("side", ["dream", "real"])
def test_a_controller_is_evolved_scored_and_kept(side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    dream = load(save_tiny_dream(tmp_path / "tiny"))
    options = ablation.Options(
        where=(side,), senses=("V and untrained M",), generations=2, population=3, rollouts=1, horizon=4, tracks=2,
        out=tmp_path,
    )  # fmt: skip
    ablation.fill(dream, options)
    written = ablation.read(tmp_path / "results.csv")
    assert [(row["where"], row["budget"], row["tracks"]) for row in written] == [(side, "24", "2")]
    ablation.fill(dream, options)
    assert ablation.read(tmp_path / "results.csv") == written
    assert f"| V and untrained M | {side} | 24 |" in ablation.to_markdown(written)


def test_evolution_finds_what_earns_more():
    config = ablation.PolicyConfig(input_dim=2)
    policy = ablation.Policy(config, load("DreamDodge-v0").model.action_space)
    goal = np.arange(policy.num_weights()) / 4
    options = ablation.Options(generations=60, population=8)
    best = ablation.evolve(policy, lambda weights, _: -np.square(weights - goal).sum(1), options, 0)
    assert np.allclose(torch.nn.utils.parameters_to_vector(best.parameters()).detach().numpy(), goal, atol=0.05)
