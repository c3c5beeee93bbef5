"""Ray records what processes would; needs Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from data import toy  # noqa: F401  the env
from data.test_collect import record, same

from dreamgym.data import Dataset
from dreamgym.data.ray_pool import RayPool
from dreamgym.errors import DreamgymError, MissingExtra


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'collecting with Ray needs ray: pip install "dreamgym\[ray\]"'):
        RayPool(1, lambda: print, print)


@pytest.fixture
def tests_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors import the toy env by name."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # Ray's own, of which each release has others
def test_ray_records_the_same_episodes_and_goes_on_where_it_stopped(tmp_path: Path, tests_on_path: None) -> None:
    record(tmp_path / "here", episodes=12, driver="noise")
    record(tmp_path / "ray", episodes=5, driver="noise", num_workers=2, ray=True)
    found = record(tmp_path / "ray", episodes=12, driver="noise", num_workers=2, ray=True)
    assert found["episodes"] == 12
    assert same(Dataset(tmp_path / "here"), Dataset(tmp_path / "ray"))


def ends_its_process() -> object:
    import os

    return lambda seed, name: os._exit(3)


def fails() -> object:
    def play(seed: int, name: str) -> None:
        raise ValueError(f"the env broke at seed {seed}")

    return play


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_what_goes_wrong_in_an_actor_is_said_here(tests_on_path: None) -> None:
    for make, error, message in (
        (ends_its_process, DreamgymError, "a Ray actor died; the finished episodes are kept"),
        (fails, ValueError, "the env broke at seed 7"),
    ):
        pool = RayPool(1, make, print)  # type: ignore[arg-type]
        with pytest.raises(error, match=message):
            pool.submit(print, 7, "random").result(60)
        pool.shutdown()
