"""The file of an interrupted training: whose it is, when it is written, and what it is when it is no such file."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from dreamgym.core import kept
from dreamgym.core.kept import Found, Kept
from dreamgym.errors import InvalidArgument


@dataclass(frozen=True)
class Row:
    step: int
    figure: float


def write(path, *, seconds=0.0, **identity):
    keep = Kept(path, wrap=[("tent", {"peak": 4.0})])
    assert keep.read(**identity) is None
    keep.notes.append("half of it")
    keep._begin -= seconds
    keep.offer(3, [Row(1, 0.5), Row(3, float("inf"))], lambda: {"x": torch.arange(3), "y": torch.arange(3)[::2]})
    return keep


def test_what_was_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    path = tmp_path / "new" / "folder" / "a.unfinished"
    write(path, seconds=100.0, lanes=4, hidden=(8, 8))
    again = Kept(path, wrap=[("tent", {"peak": 4.0})])
    assert again.seconds < 50
    found = again.read(lanes=4, hidden=(8, 8))
    assert isinstance(found, Found)
    assert (found.step, found.rows) == (3, [{"step": 1, "figure": 0.5}, {"step": 3, "figure": float("inf")}])
    assert {name: x.tolist() for name, x in found.tensors.items()} == {"x": [0, 1, 2], "y": [0, 2]}
    assert again.notes == ["half of it"]
    assert 100 <= again.seconds < 150


def test_it_is_written_every_minute(tmp_path, monkeypatch):
    keep, now = Kept(tmp_path / "a"), 0.0
    keep.read()
    monkeypatch.setattr(kept.time, "monotonic", lambda: keep._begin + now)
    written = []
    for now in (1.0, 59.0, 61.0, 100.0, 122.0, 140.0):
        keep.offer(0, [], lambda now=now: written.append(now) or {"x": torch.zeros(1)})
    assert written == [61.0, 122.0]


def test_another_trainings_file_is_refused_by_what_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    write(tmp_path / "a", lanes=4, seed=1)
    with pytest.raises(InvalidArgument, match=r"a was left by a training with wrap \[\['tent', .*\], lanes 4; give"):
        Kept(tmp_path / "a", wrap=[]).read(lanes=5, seed=1)


@pytest.mark.parametrize("content", [b"", b"PK", bytes(1000)])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"a cannot be read .*delete the file to begin anew"):
        Kept(tmp_path / "a").read()


def test_a_file_without_a_record_is_named(tmp_path):
    from safetensors.torch import save_file

    for metadata in (None, {"other": "1"}):
        save_file({"x": torch.zeros(1)}, tmp_path / "a", metadata)
        with pytest.raises(InvalidArgument, match="a cannot be read"):
            Kept(tmp_path / "a").read()


def test_nothing_of_it_is_left_when_it_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    keep = write(tmp_path / "a")
    (tmp_path / ".a.tmp").write_bytes(b"half of one")  # by a kill
    assert len(list(tmp_path.iterdir())) == 2
    keep.remove()
    keep.remove()
    assert list(tmp_path.iterdir()) == []
