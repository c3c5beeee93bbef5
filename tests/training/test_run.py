"""Training on an exact linear world: losses, resume, and what a run leaves behind when it has to stop."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracle import CountingPictures, LinearWorld, record_linear_world

from dreamgym.core.model import StageConfig
from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidArgument, InvalidDataset, InvalidModel, TrainingFailed, UnknownName
from dreamgym.models.packed import PackedLinear
from dreamgym.training import TrainConfig, fit
from dreamgym.training.checkpoints import newest_checkpoint
from dreamgym.training.log import read_log

CONFIG = TrainConfig(log_every=5, checkpoint_every=20, holdout=0.3, progress=False, tensorboard=False)
STAGES = LinearWorld.stages


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("linear")


@pytest.fixture(scope="module")
def dataset(recorded: Path) -> Dataset:
    return record_linear_world(recorded)


def losses(out: Path, stage: str) -> dict[str, list[float | None]]:
    """Return the log of a stage without what depends on the clock."""
    return {name: column for name, column in read_log(out / "logs" / f"{stage}.csv").items() if "second" not in name}


def weights(model: LinearWorld, part: str = "") -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in model.state_dict().items() if name.startswith(part)}


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """A disk on which every file is full at `num_bytes`: the system's own error, nothing is replaced."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_training_lowers_every_loss_on_recorded_and_on_held_out_episodes(dataset: Dataset, tmp_path: Path) -> None:
    result = fit(LinearWorld(), dataset, tmp_path, config=CONFIG)
    assert result.steps == {"encoder": 60, "dynamics": 60}
    for stage, terms in result.terms.items():
        log = losses(tmp_path, stage)
        assert log["step"] == [5.0 * i for i in range(1, 13)]
        for name, value in terms.items():
            assert value == log[name][-1] < 0.3 * log[name][0]
            assert result.validation[stage][name] == log[f"validation_{name}"][-1] < 0.5 * log[name][0]


def test_held_out_episodes_are_evaluated_at_checkpoints_only(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path, config=CONFIG)
    empty = [value is None for value in losses(tmp_path, "encoder")["validation_error"]]
    assert empty == [True, True, True, False] * 3


class Packed(LinearWorld):
    """Keeps packed copies of its encoder's weights while no gradient is wanted."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        plain = self.encoder.state_dict()
        self.encoder = PackedLinear(2, 2)
        self.encoder.load_state_dict(plain)

    def loss(self, batch, stage):  # type: ignore[no-untyped-def]
        return super().loss(replace(batch, obs=batch.obs.flatten(0, 1)) if stage == "encoder" else batch, stage)


def test_held_out_losses_are_those_of_the_newest_weights_where_layers_keep_copies(
    dataset: Dataset, tmp_path: Path
) -> None:
    for model, out in ((LinearWorld(), "plain"), (Packed(), "packed")):
        fit(model, dataset, tmp_path / out, config=CONFIG)
    for stage, name in (("encoder", "validation_error"), ("dynamics", "validation_latent")):
        plain, packed = (losses(tmp_path / out, stage)[name][3::4] for out in ("plain", "packed"))
        assert packed == pytest.approx(plain, rel=1e-3)


def test_the_learning_rate_is_constant_then_falls_to_a_tenth(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path, only=["encoder"], config=CONFIG)
    rates = losses(tmp_path, "encoder")["learning_rate"]
    assert rates[:7] == [0.05] * 7
    assert rates[7:] == pytest.approx([0.05 * (1 - 0.9 * k / 24) for k in (4, 9, 14, 19, 24)])


def test_two_runs_of_one_seed_are_equal_and_another_seed_is_not(dataset: Dataset, tmp_path: Path) -> None:
    models = [
        fit(LinearWorld(), dataset, tmp_path / str(i), config=replace(CONFIG, seed=seed)).model
        for i, seed in enumerate((0, 0, 1))
    ]
    assert weights(models[0]) == weights(models[1]) != weights(models[2])


def test_the_callers_random_numbers_and_threads_are_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(LinearWorld(), dataset, tmp_path, config=replace(CONFIG, threads=2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1


LONG = {name: replace(stage, steps=200) for name, stage in STAGES.items()}
KILLED = """
import os, pathlib, random, signal, sys, threading, time
sys.path[:0] = {paths!r}
from oracle import LinearWorld
from dreamgym.data.episodes import Dataset
from dreamgym.training import fit
from test_run import CONFIG, LONG

def kill():
    stage, step = random.choice(["encoder", "dynamics"]), random.choice([0, 20, 40, 60, 80, 100])
    while not pathlib.Path({out!r}, "checkpoints", f"{{stage}}-{{step}}").exists():
        time.sleep(0.0005)
    time.sleep(random.random() / 20)  # within a step, a row or a checkpoint
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
fit(LinearWorld(), Dataset({data!r}), {out!r}, stages=LONG, config=CONFIG)
"""


def test_a_run_that_was_killed_at_any_moment_and_resumed_equals_one_that_was_not(
    recorded: Path, dataset: Dataset, tmp_path: Path
) -> None:
    paths, killed = [str(folder) for folder in Path(__file__).parents[:3]], tmp_path / "killed"
    script = KILLED.format(paths=paths, data=str(recorded), out=str(killed))
    assert subprocess.run([sys.executable, "-c", script], timeout=500).returncode == -signal.SIGKILL
    resumed = fit(LinearWorld(seed=1), dataset, killed, stages=LONG, config=CONFIG)
    whole = fit(LinearWorld(), dataset, tmp_path / "whole", stages=LONG, config=CONFIG)
    assert weights(resumed.model) == weights(whole.model)
    for name in STAGES:
        assert losses(killed, name) == losses(tmp_path / "whole", name)


def test_a_finished_run_is_not_trained_again(dataset: Dataset, tmp_path: Path) -> None:
    first = fit(LinearWorld(), dataset, tmp_path, config=CONFIG)
    again = fit(LinearWorld(seed=1), dataset, tmp_path, config=CONFIG)
    assert weights(again.model) == weights(first.model)
    assert (again.steps, again.terms, again.validation) == (first.steps, first.terms, first.validation)
    assert len(losses(tmp_path, "encoder")["step"]) == 12


def test_one_stage_retrained_leaves_the_others_weights_untouched(dataset: Dataset, tmp_path: Path) -> None:
    before = weights(fit(LinearWorld(), dataset, tmp_path, config=CONFIG).model)
    longer = {"dynamics": replace(STAGES["dynamics"], steps=80)}
    after = fit(LinearWorld(seed=1), dataset, tmp_path, stages=longer, only=["dynamics"], resume=False, config=CONFIG)
    assert {k: v for k, v in before.items() if k.startswith(("encoder", "decoder"))}.items() <= weights(
        after.model
    ).items()
    assert weights(after.model, "dynamics") != {k: v for k, v in before.items() if k.startswith("dynamics")}
    assert after.steps == {"encoder": 60, "dynamics": 80}
    assert losses(tmp_path, "dynamics")["step"] == [5.0 * i for i in range(1, 17)]


def test_a_retrained_stage_starts_from_the_weights_that_were_given(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path / "a", config=CONFIG)
    fit(LinearWorld(), dataset, tmp_path / "b", config=CONFIG)
    again = fit(LinearWorld(), dataset, tmp_path / "a", only=["dynamics"], resume=False, config=CONFIG)
    once = fit(LinearWorld(), dataset, tmp_path / "b", config=CONFIG)
    assert weights(again.model) == weights(once.model)


def test_an_earlier_stage_retrained_makes_the_later_one_train_again(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path, config=CONFIG)
    result = fit(LinearWorld(seed=1), dataset, tmp_path, only=["encoder"], resume=False, config=CONFIG)
    assert result.steps == {"encoder": 60}
    names = {folder.name for folder in (tmp_path / "checkpoints").iterdir()}
    assert names == {"encoder-40", "encoder-60"}
    assert fit(LinearWorld(), dataset, tmp_path, config=CONFIG).steps == {"encoder": 60, "dynamics": 60}


def test_a_trained_model_is_trained_further_in_a_new_folder(dataset: Dataset, tmp_path: Path) -> None:
    first = fit(LinearWorld(), dataset, tmp_path / "first", config=CONFIG)
    few = {name: replace(stage, steps=20, learning_rate=0.005) for name, stage in STAGES.items()}
    further = fit(first.model, dataset, tmp_path / "further", stages=few, config=CONFIG)
    assert further.terms["dynamics"]["latent"] < first.terms["dynamics"]["latent"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"config": replace(CONFIG, seed=7)}, r"config.seed was 0, is 7"),
        ({"stages": {"encoder": replace(STAGES["encoder"], batch_size=4)}}, r"stages.encoder.batch_size was 8, is 4"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(dataset: Dataset, tmp_path: Path, change: dict, text: str) -> None:
    fit(LinearWorld(), dataset, tmp_path, only=["encoder"], config=CONFIG)
    with pytest.raises(TrainingFailed, match=text):
        fit(LinearWorld(), dataset, tmp_path, **{"config": CONFIG, **change})


def test_a_run_is_not_resumed_with_other_data(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path, config=CONFIG)
    with pytest.raises(TrainingFailed, match=r"dataset.episodes was 12, is 11"):
        fit(LinearWorld(), dataset[:11], tmp_path, config=CONFIG)


def test_a_stage_that_was_not_begun_may_have_other_settings(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path, only=["encoder"], config=CONFIG)
    other = {"dynamics": replace(STAGES["dynamics"], steps=20)}
    assert fit(LinearWorld(), dataset, tmp_path, stages=other, config=CONFIG).steps == {"encoder": 60, "dynamics": 20}


class Exploding(LinearWorld):
    """Its reward is not a number from the 25th step on."""

    def loss(self, batch, stage):  # type: ignore[no-untyped-def]
        loss, terms = super().loss(batch, stage)
        self.calls = getattr(self, "calls", 0) + self.training
        if stage == "dynamics" and self.calls >= 60 + 25:
            return loss * torch.nan, {**terms, "reward": terms["reward"] * torch.nan}
        return loss, terms


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(TrainingFailed, match=r"reward is nan at step 25 of stage 'dynamics'"):
        fit(Exploding(), dataset, tmp_path, config=CONFIG)
    newest = newest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    assert newest.folder.name == "dynamics-20"
    assert all(value.isfinite().all() for value in newest.weights.values())


def test_a_disk_that_is_full_at_a_checkpoint_leaves_the_previous_one_intact(dataset: Dataset, tmp_path: Path) -> None:
    fit(LinearWorld(), dataset, tmp_path, only=["encoder"], config=CONFIG)
    with largest_file(500), pytest.raises(TrainingFailed, match=r"dynamics-0.* cannot be written \(File too large\)"):
        fit(LinearWorld(), dataset, tmp_path, config=CONFIG)
    assert {folder.name for folder in (tmp_path / "checkpoints").iterdir()} == {"encoder-40", "encoder-60"}
    resumed = fit(LinearWorld(seed=1), dataset, tmp_path, config=CONFIG)
    whole = fit(LinearWorld(), dataset, tmp_path / "whole", config=CONFIG)
    assert weights(resumed.model) == weights(whole.model)


def test_a_disk_that_is_full_at_a_log_leaves_a_run_that_can_be_resumed(dataset: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, log_every=1)
    long = {"encoder": replace(STAGES["encoder"], steps=100)}
    only = ["encoder"]
    with largest_file(4000), pytest.raises(TrainingFailed, match=r"encoder.csv cannot be written \(File too large\)"):
        fit(LinearWorld(), dataset, tmp_path, stages=long, only=only, config=config)
    resumed = fit(LinearWorld(seed=1), dataset, tmp_path, stages=long, only=only, config=config)
    whole = fit(LinearWorld(), dataset, tmp_path / "whole", stages=long, only=only, config=config)
    assert weights(resumed.model) == weights(whole.model)
    assert losses(tmp_path, "encoder") == losses(tmp_path / "whole", "encoder")


def test_tensorboard_files_are_written_where_it_is_installed(dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    fit(LinearWorld(), dataset, tmp_path, only=["encoder"], config=replace(CONFIG, tensorboard=True))
    assert list((tmp_path / "logs" / "tensorboard").glob("events.*"))


def test_a_bad_recording_is_found_before_training(tmp_path: Path) -> None:
    data = record_linear_world(tmp_path / "data")
    data[3].reward[5] = float("nan")
    with pytest.raises(InvalidDataset, match=r"reward of episode '0003' is not finite at step 5"):
        fit(LinearWorld(), data, tmp_path / "run", config=CONFIG)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"only": ["encodr"]}, UnknownName, r"unknown stage 'encodr'; .*Did you mean 'encoder'"),
        ({"stages": {"vae": StageConfig()}}, UnknownName, r"unknown stage 'vae'"),
        ({"stages": {"encoder": StageConfig(steps=0)}}, InvalidArgument, r"steps of stage 'encoder' is 0"),
        ({"config": replace(CONFIG, device="gpu")}, InvalidArgument, r"device is 'gpu'"),
        ({"config": replace(CONFIG, precision="fp8")}, InvalidArgument, r"precision is 'fp8'"),  # type: ignore[arg-type]
        ({"config": replace(CONFIG, log_every=0)}, InvalidArgument, r"log_every is 0"),
        ({"config": replace(CONFIG, holdout=1.0)}, InvalidArgument, r"holdout is 1.0"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(
    dataset: Dataset, tmp_path: Path, arguments: dict, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        fit(LinearWorld(), dataset, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_be_trained_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"CountingPictures cannot be trained"):
        fit(CountingPictures(), dataset, tmp_path)


def test_data_of_other_spaces_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    model = LinearWorld()
    model.action_space = CountingPictures.action_space
    with pytest.raises(InvalidDataset, match=r"action_space is Box\(-1.0, 1.0.*expects Box\(0.0, 1.0"):
        fit(model, dataset, tmp_path)
