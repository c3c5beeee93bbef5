"""Processes that `torchrun` starts train as one: real ones, over gloo, on recordings of Dodge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import dodge_episode

from dreamgym.core.share import Share
from dreamgym.data.episodes import Dataset
from dreamgym.data.sequences import SequenceSampler
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidArgument
from dreamgym.hub import load
from dreamgym.real.dodge import make
from dreamgym.training.log import read_log

RSSM = ["--model", "rssm", "--model.deter-dim", "16", "--model.hidden-dim", "16", "--model.channels", "4", "4", "4",
        "4", "--rssm.batch-size", "4", "--rssm.sequence-length", "5"]  # fmt: skip
MODELS = {
    "rssm": RSSM,
    "rssm_gaussian": [*RSSM, "--model.latent", "gaussian"],
    "vae_mdn_rnn": ["--model", "vae_mdn_rnn", "--model.latent-dim", "4", "--model.hidden-dim", "8", "--model.channels",
                    "4", "4", "4", "4", "--vae.batch-size", "8", "--mdn-rnn.batch-size", "4",
                    "--mdn-rnn.sequence-length", "5"],
}  # fmt: skip
STAGES = {"rssm": ("rssm",), "rssm_gaussian": ("rssm",), "vae_mdn_rnn": ("vae", "mdn_rnn")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of different lengths, so that windows are padded by different amounts."""
    folder, env = tmp_path_factory.mktemp("dodge"), make()
    with DatasetWriter(folder, "Dodge-v0", env.observation_space, env.action_space) as writer:
        for i in range(16):
            writer.add(dodge_episode(i, steps=3 + i % 7), key=f"{i:04d}")
    return folder


def command(model: str, data: Path, out: Path, steps: int, processes: int) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    of_stages = [x for stage in STAGES[model] for x in (f"--{stage.replace('_', '-')}.steps", str(steps))]
    return [
        sys.executable, *(launcher if processes > 1 else []), "-m", "dreamgym", "train", "--data", str(data),
        "--out", str(out), "--log-every", "1", "--checkpoint-every", "5", "--starts", "20",
        "--holdout", "0.2", *MODELS[model], *of_stages,
    ]  # fmt: skip


def run(*args: object) -> None:
    done = subprocess.run(command(*args), capture_output=True, text=True, check=False, timeout=300)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr


def log(folder: Path, stage: str) -> dict[str, np.ndarray]:
    columns = read_log(folder / "training" / "logs" / f"{stage}.csv")
    return {name: np.array(column, float) for name, column in columns.items() if "second" not in name}


def assert_same_run(one: Path, two: Path, model: str) -> None:
    for stage in STAGES[model]:
        ours, theirs = log(one, stage), log(two, stage)
        assert ours.keys() == theirs.keys()
        for name in ours:
            # a categorical near a tie, which another rounding draws otherwise, moves the losses of its own step, once
            # some updates have made more of the rounding
            most, strictly = (0.05, 4) if model == "rssm" else (2e-3, None)
            np.testing.assert_allclose(ours[name], theirs[name], rtol=most, atol=1e-5, err_msg=f"{stage}: {name}")
            first = ours[name][:strictly], theirs[name][:strictly]
            np.testing.assert_allclose(*first, rtol=2e-3, atol=1e-5, err_msg=f"{stage}: {name}")
            close = np.isclose(ours[name], theirs[name], rtol=2e-3, atol=1e-5, equal_nan=True)
            assert close.mean() >= 0.7, f"{stage}: {name}: {ours[name]} and {theirs[name]}"
    weights = [load(folder).model.state_dict() for folder in (one, two)]  # type: ignore[attr-defined]
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], atol=2e-3, err_msg=name)


def test_shares_are_the_whole_batch_in_order(data: Path) -> None:
    dataset = Dataset(data)
    whole = SequenceSampler(dataset, 5, 6, ending_share=0.3, seed=1)
    parts = [SequenceSampler(dataset, 5, 6, ending_share=0.3, seed=1, share=Share(rank, 3)) for rank in range(3)]
    for name in ("obs", "action", "reward", "terminated", "mask", "is_first"):
        joined = np.concatenate([getattr(part.batch(4), name) for part in parts])
        assert np.array_equal(joined, getattr(whole.batch(4), name))
    assert [source for part in parts for source in part.sources(4)] == whole.sources(4)


def test_a_batch_that_does_not_divide_is_refused(data: Path) -> None:
    with pytest.raises(InvalidArgument, match="batch_size is 8, which does not divide among 3 processes"):
        SequenceSampler(Dataset(data), 5, 8, share=Share(0, 3))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_train_as_one_with_the_whole_batch(model: str, data: Path, tmp_path: Path) -> None:
    run(model, data, tmp_path / "one", 12, 1)
    run(model, data, tmp_path / "two", 12, 2)
    assert_same_run(tmp_path / "one", tmp_path / "two", model)


@pytest.mark.slow
def test_a_killed_process_ends_the_job_which_another_number_of_processes_resumes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    job = subprocess.Popen(command("rssm", data, out, 100_000, 2), stderr=subprocess.PIPE, text=True)
    checkpoints, deadline = out / "training" / "checkpoints", time.monotonic() + 120
    while not (checkpoints / "rssm-10").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(worker(job.pid), signal.SIGKILL)
    _, told = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "exitcode  : -9" in told or "lost another one, which was killed" in told
    before = int(max((folder.name for folder in checkpoints.iterdir()), key=lambda name: int(name[5:]))[5:])
    steps = before + 5
    # the stage's number of steps decides its learning rate, so that the same run is one of the same length
    run_of = command("rssm", data, out, 100_000, 1)
    resumed = subprocess.Popen(run_of, stderr=subprocess.PIPE, text=True)
    while not (checkpoints / f"rssm-{steps}").exists():
        assert resumed.poll() is None
        assert time.monotonic() < deadline + 120
        time.sleep(0.05)
    resumed.kill()
    resumed.communicate()
    steps_seen = log(out, "rssm")["step"]
    assert steps_seen[:steps].tolist() == list(range(1, steps + 1))


def worker(launcher: int) -> int:
    """Return the process id of the second worker of torchrun, as Linux tells it."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[1])
