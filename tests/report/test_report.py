"""The whole report: an exact world is trustworthy for all that is measured, a wrong one is not; gaps are named."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from lines import ACTION_SPACE, line_dream
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym.cli.commands import main
from dreamgym.core.policy import Policy, PolicyConfig, load_policy, save_policy
from dreamgym.data.collect import collect
from dreamgym.errors import DreamgymError, InvalidArgument, InvalidDataset, MissingExtra, PolicyMismatch
from dreamgym.hub import load, read_card, ship_policy
from dreamgym.report.config import ReportConfig
from dreamgym.report.data import held_out
from dreamgym.report.drawing import draw_plots
from dreamgym.report.exploitation import parting
from dreamgym.report.page import to_html, to_markdown
from dreamgym.report.rivals import NoisyActor, rivals
from dreamgym.report.run import measure
from dreamgym.report.transfer import transfer_figures
from dreamgym.report.verdict import RULES, in_words, judge
from dreamgym.report.write import key_figures, put_on_card, to_json, write

SMALL = ReportConfig(
    horizon=12, context=3, windows=24, draws=5, record=30, episodes=6, lanes=(1,), seconds=0.01, seed=500
)


def small(dream: Any, **options: Any) -> dict[str, Any]:
    return measure(dream, config=SMALL, **options)[0]


@pytest.fixture(scope="module")
def measured() -> tuple[dict[str, Any], Any]:
    return measure(line_dream(), config=SMALL)


@pytest.fixture(scope="module")
def exact(measured: tuple[dict[str, Any], Any]) -> dict[str, Any]:
    return measured[0]


@pytest.fixture(scope="module")
def wrong() -> dict[str, Any]:
    return small(line_dream(drift=0.4, ends=False))


def verdict(report: dict[str, Any]) -> dict[str, bool | None]:
    return {row["claim"]: row["holds"] for row in report["verdict"]}


def test_an_exact_world_is_trustworthy_for_all_that_is_measured(exact: dict[str, Any]):
    unknown = {"the situations that the shipped policy gets into", "training in it for longer"}
    assert {claim for claim, holds in verdict(exact).items() if holds is not True} <= unknown
    assert exact["transfer"]["spearman"] == {"value": 1, "low": 1, "high": 1}
    assert exact["transfer"]["score_error"] == pytest.approx(0, abs=1e-5)
    assert exact["transfer"]["best"]["regret"] == 0
    for row in exact["transfer"]["policies"]:
        assert row["dream"]["value"] == pytest.approx(row["real"]["value"], abs=1e-3)


def test_a_wrong_world_is_not(wrong: dict[str, Any]):
    found = verdict(wrong)
    for claim in ("predicting a policy's score", "how often episodes end", "which step ends an episode",
                  "its own certainty", "looking 10 steps ahead"):  # fmt: skip
        assert found[claim] is False, claim


def test_at_least_eight_policies_are_compared(exact: dict[str, Any]):
    names = [row["name"] for row in exact["transfer"]["policies"]]
    assert len(names) == len(set(names)) >= 8
    assert {"random", "always 0", "always 1", "always 2", "untrained 1"} <= set(names)
    assert exact["transfer"]["episodes"] == 6


def test_seeds_are_printed_and_no_two_uses_share_one(exact: dict[str, Any]):
    uses = [range(row["first"], row["first"] + row["count"]) for row in exact["seeds"].values()]
    assert len({seed for use in uses for seed in use}) == sum(map(len, uses)) == 36
    assert "500 to 529 | 30" in to_markdown(exact)


def test_a_report_is_the_same_every_time(exact: dict[str, Any]):
    again = small(line_dream())
    timed = ("speed", "seconds")
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in exact.items() if k not in timed}


def test_without_a_real_env_the_dream_half_is_reported_and_the_rest_is_named():
    report = small(line_dream(real="Nowhere-v0"))
    assert "Nowhere" in report["missing"][0]["why"]
    assert {"horizon", "reward", "map"} & set(report) == set()
    assert all(set(row) == {"name", "dream"} for row in report["transfer"]["policies"])
    assert set(in_words(report["verdict"])["unknown"]) == {rule.claim for rule in RULES}
    assert "Not measured: errors over the horizon" in to_html(report, draw_plots(report))


def test_without_a_real_env_recordings_are_still_measured(tmp_path: Path):
    collect("Line-v0", tmp_path / "data", episodes=30, seed=1, progress=False)
    dream = line_dream(real="Nowhere-v0")
    dream = replace(dream, card={**dream.card, "data": {"env": "Line-v0", "episodes": 1, "steps": 1}})
    report = small(dream, data=[tmp_path / "data"], holdout=1.0)
    assert report["data"]["episodes"] == 30
    assert report["horizon"]["observations"]["trusted"] > 5
    assert "spearman" not in report["transfer"]


def test_a_model_without_a_decoder_is_reported_without_observations():
    report, dreams = measure(line_dream(decodes=False), config=SMALL)
    assert any(row == {"part": "observations over the horizon, and strips", "why": "LineWorld has no decoder"}
               for row in report["missing"])  # fmt: skip
    assert "observations" not in report["horizon"]
    assert verdict(report)["looking 10 steps ahead"] is True  # judged by its features
    assert dreams is not None
    assert dreams.obs is None


def record(folder: Path, env: str, episodes: int = 5) -> Path:
    collect(env, folder, episodes=episodes, seed=3, driver="random_holds", progress=False)
    return folder


def test_recordings_of_another_env_are_refused(tmp_path: Path):
    with pytest.raises(InvalidDataset, match=r"has observation_space .*; DreamLine was trained on Box\(-10.0, 10.0"):
        held_out(line_dream(), [record(tmp_path / "dodge", "Dodge-v0")], 1.0)
    gym.register("OtherLine-v0", "lines:LineEnv", max_episode_steps=9)
    with pytest.raises(InvalidDataset, match="was recorded in OtherLine-v0; DreamLine is a dream of Line-v0"):
        held_out(line_dream(), [record(tmp_path / "other", "OtherLine-v0")], 1.0)


def test_recordings_without_held_out_episodes_are_refused(tmp_path: Path):
    folder = record(tmp_path / "few", "Line-v0")
    with pytest.raises(InvalidDataset, match="0 of the 5 episodes of .*few are held out at holdout 0.01; .*holdout 1"):
        held_out(line_dream(), [folder], 0.01)
    assert len(held_out(line_dream(), [folder], 1.0)) == 5
    with pytest.raises(InvalidArgument, match="holdout is 0; expected"):
        held_out(line_dream(), [folder], 0)


def test_a_policy_for_other_spaces_is_refused_before_anything_is_measured(tmp_path: Path):
    policy = Policy(PolicyConfig(input_dim=2), gym.spaces.Discrete(5))
    path = save_policy(policy, tmp_path / "other.safetensors")
    said: list[str] = []
    with pytest.raises(PolicyMismatch, match=r"acts in Discrete\(5\); DreamLine expects Discrete\(3\)"):
        measure(line_dream(), policies=[path], config=SMALL, say=said.append)
    assert said == []


@pytest.mark.parametrize(
    ("given", "told"), [({"draws": 1}, "draws is 1; expected at least 2"), ({"horizon": 0}, "horizon is 0; expected")]
)
def test_too_little_is_refused(given: dict[str, int], told: str):
    with pytest.raises(InvalidArgument, match=told):
        ReportConfig(**given)  # type: ignore[arg-type]


def test_a_share_of_a_noisy_actors_decisions_is_random_and_each_lane_is_its_own():
    class Still:
        def reset(self, seeds: Any) -> None: ...

        def act(self, features: torch.Tensor) -> np.ndarray:
            return np.zeros(len(features), np.int64)

    def play(lanes: list[int], share: float = 0.6) -> np.ndarray:
        actor = NoisyActor(Still(), gym.spaces.Discrete(3), share)
        actor.reset(lanes)
        return np.stack([actor.act(torch.zeros(len(lanes), 2)) for _ in range(500)], 1)

    both = play([4, 5])
    assert (both > 0).mean() == pytest.approx(0.6 * 2 / 3, abs=0.05)
    assert (both[1] == play([5])[0]).all()
    assert play([4], share=0.0).max() == 0


def test_given_policies_are_among_the_rivals(tmp_path: Path):
    path = save_policy(Policy(PolicyConfig(input_dim=2), ACTION_SPACE), tmp_path / "halfway.safetensors")
    assert rivals(line_dream(), [path])["halfway"] == path


def test_the_gap_and_the_regret_are_those_of_the_policy_that_the_dream_likes_best():
    returns = {"a": {"dream": [9.0, 11.0], "real": [2.0, 2.0]}, "b": {"dream": [5.0, 5.0], "real": [4.0, 8.0]},
               "c": {"dream": [1.0, 1.0], "real": [1.0, 1.0]}}  # fmt: skip
    figures = transfer_figures(returns)
    assert [row["name"] for row in figures["policies"]] == ["a", "b", "c"]
    assert figures["range"] == 5
    assert (figures["best"]["name"], figures["best"]["gap"]["value"]) == ("a", 8)
    assert figures["best"]["regret"] == pytest.approx((6 - 2) / 5)
    assert figures["score_error"] == pytest.approx((8 + 1 + 0) / 3 / 5)
    assert figures["spearman"]["value"] == 0.5


def test_dream_and_reality_have_parted_where_the_gap_stays_above_the_margin():
    def rows(*lows: float) -> list[dict[str, Any]]:
        return [{"decisions": 10 * (i + 1), "gap": {"low": low}} for i, low in enumerate(lows)]

    assert parting(rows(0, 9, 0, 6, 7), 5) == 40
    assert parting(rows(9, 9), 5) == 10
    assert parting(rows(0, 9, 0), 5) is None


def test_each_rule_can_hold_and_fail_at_its_threshold():
    part = {"policies": [1] * 8, "spearman": {"value": 0.8, "low": 0.5, "high": 1.0}, "range": 10.0, "score_error": 0.1,
            "best": {"name": "a", "regret": 0.05}}  # fmt: skip
    report = {"transfer": part}
    assert [row["holds"] for row in judge(report)][:3] == [True, True, True]
    part["spearman"] = {"value": 0.8, "low": 0.49, "high": 1.0}
    part["score_error"], part["best"] = 0.11, {"name": "a", "regret": 0.06}
    assert [row["holds"] for row in judge(report)][:3] == [False, False, False]


def test_the_page_is_whole_and_asks_nobody_for_anything(measured: tuple[dict[str, Any], Any], tmp_path: Path):
    exact, dreams = measured
    paths = write(exact, tmp_path, line_dream().model, dreams)
    page = paths["html"].read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "@import" not in page
    for text in ("prefers-color-scheme: dark", "@media print", "width=device-width"):
        assert text in page
    for name in re.findall(r'(?:url\(#|href="#)([^)"]+)', page):
        assert f'id="{name}"' in page, name
    assert page.count("<svg") >= 9
    assert not re.search(r"#01020\d", page)  # every colour is the page's
    assert json.loads(paths["json"].read_text()) == exact
    for claim in verdict(exact):
        assert claim in paths["md"].read_text()


def test_names_are_escaped(exact: dict[str, Any]):
    report = {**exact, "dream": {**exact["dream"], "name": "<b>&"}}
    assert "<h1>&lt;b&gt;&amp;</h1>" in to_html(report, {})


def test_plots_need_matplotlib(exact: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'a report needs matplotlib: pip install "dreamgym\[plots\]"'):
        draw_plots(exact)


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained dream of Dodge-v0 that ships a policy."""
    folder = save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny")
    policy = save_tiny_policy(folder.parent / "policy.safetensors", folder)
    ship_policy(folder, load_policy(policy))
    return folder


def test_the_command_writes_the_report_and_the_card_says_the_same(shipping: Path, tmp_path: Path, capsys: Any):
    sizes = ["--episodes", "2", "--record", "6", "--windows", "4", "--draws", "2", "--horizon", "6"]
    with pytest.raises(SystemExit) as ended:
        main(["report", str(shipping), "--out", str(tmp_path / "out"), *sizes, "--card"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "holds" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert read_card(shipping)["report"] == key_figures(report)
    assert report["data"]["drivers"].keys() >= {"policy"}
    assert 0 <= report["outside"]["share"]["value"] <= 1
    assert '<div class="strip"><span><img' in (tmp_path / "out" / "report.html").read_text()
    assert "shipped, 50% random" in {row["name"] for row in report["transfer"]["policies"]}
    ship_policy(shipping, load_policy(shipping / "policy.safetensors"))
    assert "report" not in read_card(shipping)  # it is of an earlier policy


def test_the_figures_of_other_weights_do_not_go_on_a_card(exact: dict[str, Any], shipping: Path):
    with pytest.raises(DreamgymError, match="the report is of weights"):
        put_on_card({**exact, "dream": {**exact["dream"], "weights_sha256": "f" * 64}}, shipping)
    assert load(shipping).name == "tiny"


def test_json_knows_no_nan(exact: dict[str, Any]):
    assert json.loads(to_json(exact)) == exact
