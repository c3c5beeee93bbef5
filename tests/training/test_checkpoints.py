"""Checkpoints are whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dreamgym.training.checkpoints import newest_checkpoint, prune_checkpoints, write_checkpoint


def write(root: Path, stage: str, step: int) -> Path:
    value = torch.full((3,), float(step))
    return write_checkpoint(root, stage, step, {"note": step}, {"w": value}, {"0.exp_avg": value + 1})


def newest_name(root: Path) -> str:
    newest = newest_checkpoint(root)
    assert newest is not None
    return newest.folder.name


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, "vae", 10)
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.stage, checkpoint.step, checkpoint.record) == ("vae", 10, {"note": 10})
    assert checkpoint.weights["w"].tolist() == [10.0] * 3
    assert checkpoint.optimizer["0.exp_avg"].tolist() == [11.0] * 3


def test_there_is_none_in_an_absent_folder(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "absent") is None


def test_the_newest_is_the_one_written_last_whatever_its_step(tmp_path: Path) -> None:
    write(tmp_path, "mdn_rnn", 900)
    write(tmp_path, "vae", 10)
    assert newest_name(tmp_path) == "vae-10"


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    names = {path.name for path in write(tmp_path, "vae", 10).iterdir()}
    assert names == {"weights.safetensors", "optimizer.safetensors", "state.json"}


def test_what_an_interrupted_writer_left_is_ignored_and_removed(tmp_path: Path) -> None:
    whole = write(tmp_path, "vae", 10)
    left = tmp_path / ".writing-vae-20"
    left.mkdir()
    (left / "state.json").write_text((whole / "state.json").read_text().replace('"serial": 1', '"serial": 2'))
    assert newest_name(tmp_path) == "vae-10"
    assert not left.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_truncated_checkpoint_is_skipped_with_a_warning_that_names_it(tmp_path: Path, name: str) -> None:
    write(tmp_path, "vae", 10)
    damaged = write(tmp_path, "vae", 20) / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=rf"vae-20 is damaged and skipped: .*{name}"):
        assert newest_name(tmp_path) == "vae-10"
    write(tmp_path, "vae", 20)  # takes the place of the damaged one
    assert newest_name(tmp_path) == "vae-20"


def test_a_missing_file_is_a_damage(tmp_path: Path) -> None:
    (write(tmp_path, "vae", 10) / "weights.safetensors").unlink()
    with pytest.warns(UserWarning, match="vae-10 is damaged and skipped"):
        assert newest_checkpoint(tmp_path) is None


def test_a_new_checkpoint_is_newer_than_a_damaged_one(tmp_path: Path) -> None:
    (write(tmp_path, "vae", 10) / "state.json").write_text("{")
    write(tmp_path, "vae", 5)
    with pytest.warns(UserWarning, match="vae-10 is damaged and skipped"):
        assert newest_name(tmp_path) == "vae-5"
    prune_checkpoints(tmp_path, {"vae": 1})
    assert newest_name(tmp_path) == "vae-5"


def test_pruning_keeps_the_newest_of_each_stage_and_leaves_other_stages_alone(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        write(tmp_path, "vae", step)
        write(tmp_path, "my-memory", step)
    prune_checkpoints(tmp_path, {"vae": 2})
    prune_checkpoints(tmp_path, {"my-memory": 1, "memory": 0})
    assert {folder.name for folder in tmp_path.iterdir()} == {"vae-10", "vae-15", "my-memory-15"}


def test_weights_that_share_memory_are_written(tmp_path: Path) -> None:
    shared = torch.zeros(2)
    write_checkpoint(tmp_path, "vae", 1, {}, {"a": shared, "b": shared}, {})
    assert json.loads((tmp_path / "vae-1" / "state.json").read_text())["step"] == 1


def test_a_checkpoint_whose_removal_was_interrupted_is_gone_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "vae", 10)
    write(tmp_path, "vae", 20)
    with monkeypatch.context() as killed:  # between the first file and the last
        killed.setattr("shutil.rmtree", lambda folder, **kwargs: (folder / "state.json").unlink(missing_ok=True))
        prune_checkpoints(tmp_path, {"vae": 1})
    assert newest_name(tmp_path) == "vae-20"  # a warning would be an error
    assert [path.name for path in tmp_path.iterdir()] == ["vae-20"]
