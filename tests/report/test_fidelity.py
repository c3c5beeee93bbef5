"""With closed eyes and one step ahead: exact worlds get perfect figures, wrong ones those that are known by hand."""

import warnings

import numpy as np
import pytest
from lines import LineWorld

from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidDataset
from dreamgym.report.foresight import ending_figures, reward_figures
from dreamgym.report.horizon import horizon_figures, typical_windows
from dreamgym.report.one_step import one_step_ahead
from dreamgym.report.open_loop import dream_on
from dreamgym.report.outside import fit_plane, map_figures


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("data") / "line"
    collect("Line-v0", out, episodes=40, seed=7, driver="random_holds", progress=False)
    return Dataset(out)


def dreamed(dataset: Dataset, **wrong: float):
    model = LineWorld(**wrong)  # type: ignore[arg-type]
    steps = one_step_ahead(model, dataset)
    return steps, dream_on(model, dataset, steps, horizon=8, context=3, windows=30, draws=5)


def test_an_exact_world_stays_true_to_the_end(dataset: Dataset):
    _, dreams = dreamed(dataset)
    figures = horizon_figures(dreams)
    for kind in ("observations", "features", "reward"):
        curves = figures[kind]
        assert max(curves["dream"]) == pytest.approx(0, abs=1e-5), kind
        assert curves["trusted"] == curves["after"][-1] >= 5
        assert min(curves["other"]) > 0.1
    assert min(figures["observations"]["still"]) > 0.01
    assert np.mean(figures["features"]["covered"]) == pytest.approx(figures["nominal_coverage"], abs=0.12)
    assert not figures["by_chance"]


def test_another_moment_is_twice_as_wrong_as_the_mean(dataset: Dataset):
    other = horizon_figures(dreamed(dataset)[1])["features"]["other"]
    assert np.mean(other) == pytest.approx(2, rel=0.4)


def test_a_drifting_world_parts_by_its_drift_each_step(dataset: Dataset):
    steps, dreams = dreamed(dataset, drift=0.5)
    curves = horizon_figures(dreams)["features"]
    variance = steps.features.var(0).sum()
    assert curves["dream"][:3] == pytest.approx([(0.5 * h) ** 2 / variance for h in (1, 2, 3)], rel=1e-4)
    assert curves["trusted"] < 5
    assert max(curves["covered"]) < 0.9


def test_the_summed_reward_is_off_by_the_bonus_of_each_step(dataset: Dataset):
    curves = horizon_figures(dreamed(dataset, bonus=0.5)[1])["reward"]
    assert curves["dream"][:3] == pytest.approx([0.5, 1.0, 1.5], rel=1e-4)
    assert max(curves["covered"]) == 0


def test_curves_end_where_few_episodes_go_on(dataset: Dataset):
    steps = one_step_ahead(LineWorld(), dataset)
    curves = horizon_figures(dream_on(LineWorld(), dataset, steps, horizon=60, context=3, windows=40, draws=2))[
        "reward"
    ]
    assert len(curves["after"]) < 24
    assert min(curves["windows"]) >= 10


def test_the_worst_stretch_is_worse_than_the_best(dataset: Dataset):
    _, dreams = dreamed(dataset, drift=0.1)
    shown = typical_windows(dreams)
    error = {name: np.nanmean(dreams.obs["dream"][place, 0]) for name, place in shown.items()}  # type: ignore[index]
    assert error["best"] <= error["median"] <= error["worst"]


def test_a_world_without_a_decoder_is_measured_by_its_features(dataset: Dataset):
    _, dreams = dreamed(dataset, decodes=False)
    assert dreams.obs is None
    assert set(horizon_figures(dreams)) >= {"features", "reward"}


def test_episodes_that_are_too_short_are_refused(dataset: Dataset):
    steps = one_step_ahead(LineWorld(), dataset)
    with pytest.raises(InvalidDataset, match="0 of 40 episodes have more than 90 steps"):
        dream_on(LineWorld(), dataset, steps, context=90)


def test_exact_rewards_and_endings_get_perfect_figures(dataset: Dataset):
    steps = one_step_ahead(LineWorld(), dataset)
    reward, endings = reward_figures(steps), ending_figures(steps)
    assert reward["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert reward["mean_error"]["high"] == pytest.approx(0, abs=1e-6)
    assert sum(row["steps"] for row in reward["calibration"]) == dataset.num_steps == endings["steps"]
    assert endings["endings"] == sum(episode.terminated for episode in dataset) > 5
    assert [endings[name]["value"] for name in ("rate", "recall", "precision", "false_alarms")] == [1, 1, 1, 0]


def test_too_much_reward_shows_as_bias_and_missed_endings_as_no_recall(dataset: Dataset):
    steps = one_step_ahead(LineWorld(bonus=0.5, ends=False), dataset)
    reward, endings = reward_figures(steps), ending_figures(steps)
    assert (reward["bias"]["value"], reward["calibration_error"]) == pytest.approx((0.5, 0.5), rel=1e-5)
    assert (endings["rate"]["value"], endings["recall"]["value"]) == (0, 0)
    assert np.isnan(endings["precision"]["value"])  # there was no alarm


def test_false_alarms_are_counted_for_each_episode(dataset: Dataset):
    steps = one_step_ahead(LineWorld(), dataset)
    alarmed = ending_figures(steps.__class__(**{**steps.__dict__, "chance": np.ones_like(steps.chance)}))
    going_on = dataset.num_steps - alarmed["endings"]
    assert alarmed["false_alarms"]["value"] == pytest.approx(going_on / 40)
    assert alarmed["precision"]["value"] == pytest.approx(alarmed["endings"] / dataset.num_steps)


def test_the_map_shows_errors_where_they_are(dataset: Dataset):
    steps = one_step_ahead(LineWorld(), dataset)
    error = (steps.features[:, 0] > 1).astype(float)
    steps = steps.__class__(**{**steps.__dict__, "error": error, "disagreement": error + 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = map_figures(steps, fit_plane(steps.features), ["random_holds"] * 40)
    cells = np.array(found["error"])
    assert np.nanmax(cells) > 0
    assert np.nanmin(cells) == 0
    assert found["disagreement_and_error"] == 1.0
    assert found["drivers"]["random_holds"]["steps"] == dataset.num_steps
