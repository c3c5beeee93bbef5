"""Collection: the time convention, reproducibility, interruption."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data import toy
from gymnasium.error import NameNotFound

from dreamgym.data import Dataset
from dreamgym.data.collect import collect
from dreamgym.data.drivers import RandomDriver, find_drivers
from dreamgym.errors import DreamgymError, InvalidArgument, InvalidDataset, UnknownName

ENV = "data.toy:make"


def record(out, **kwargs):
    return collect(ENV, out, **{"episodes": 6, "progress": False, **kwargs})


def same(one: Dataset, two: Dataset) -> bool:
    return one.keys == two.keys and all(
        np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action) and a.meta == b.meta
        for a, b in zip(one, two, strict=True)
    )


def test_what_happened_is_recorded_at_the_step_at_which_it_happened(tmp_path):
    record(tmp_path / "data", driver="cycle", seed=3)
    for i, episode in enumerate(Dataset(tmp_path / "data")):
        length = 2 + (3 + i) % 5
        steps = np.arange(length)
        np.testing.assert_array_equal(episode.obs, [[3 + i, t] for t in range(length + 1)])
        np.testing.assert_array_equal(episode.action, steps % 3)
        np.testing.assert_allclose(episode.reward, steps + 1 + steps % 3 / 10, rtol=1e-6)
        assert (episode.terminated, episode.truncated) == (True, False)
        assert episode.meta == {"driver": "cycle", "seed": 3 + i}


def test_any_number_of_workers_records_the_same_episodes(tmp_path):
    one = record(tmp_path / "one", episodes=12)
    two = record(tmp_path / "two", episodes=12, num_workers=2)
    assert one == two
    assert same(Dataset(tmp_path / "one"), Dataset(tmp_path / "two"))


def test_an_episode_does_not_depend_on_those_before_it(tmp_path):
    record(tmp_path / "all", driver="noise", episodes=6)
    record(tmp_path / "last", driver="noise", episodes=1, seed=5)
    assert same(Dataset(tmp_path / "all")[5:], Dataset(tmp_path / "last"))
    assert len({tuple(episode.action) for episode in Dataset(tmp_path / "all")}) > 3


def test_the_same_command_continues_where_it_stopped(tmp_path):
    record(tmp_path / "data", episodes=3)
    record(tmp_path / "data", episodes=8)
    record(tmp_path / "whole", episodes=8)
    assert same(Dataset(tmp_path / "data"), Dataset(tmp_path / "whole"))
    shards = set((tmp_path / "data").glob("shard-*"))
    record(tmp_path / "data", episodes=8)
    assert set((tmp_path / "data").glob("shard-*")) == shards


def test_steps_are_reached_with_whole_episodes(tmp_path):
    assert record(tmp_path / "data", episodes=None, steps=10)["steps"] == 2 + 3 + 4 + 5
    assert record(tmp_path / "data", episodes=None, steps=15)["steps"] == 2 + 3 + 4 + 5 + 6
    assert record(tmp_path / "both", episodes=2, steps=10)["steps"] == 2 + 3


def test_the_summary_says_what_each_driver_earned(tmp_path):
    summary = record(tmp_path / "data", episodes=40, driver={"cycle": 3, "noise": 1})
    data = Dataset(tmp_path / "data")
    cycles = [i for i, meta in enumerate(data.metas) if meta["driver"] == "cycle"]
    assert 20 < len(cycles) < 38
    assert summary["episodes"] == 40
    assert summary["drivers"]["cycle"] == {
        "episodes": len(cycles),
        "steps": data.lengths[cycles].sum(),
        "return_mean": pytest.approx(data.returns[cycles].mean()),
        "return_std": pytest.approx(data.returns[cycles].std()),
    }
    assert summary["drivers"]["noise"]["episodes"] == 40 - len(cycles)


def test_the_default_is_the_mixture_of_the_env(tmp_path):
    assert set(record(tmp_path / "data", episodes=20)["drivers"]) == {"cycle", "noise"}


def test_a_caller_brings_drivers_as_objects_factories_or_names(tmp_path):
    drivers = {"object": toy.Cycle(), "factory": toy.Cycle, "name": "data.toy:Cycle"}
    for name in drivers:
        record(tmp_path / name, driver=name, drivers=drivers)
    record(tmp_path / "workers", driver="object", drivers=drivers, num_workers=2)
    actions = [[list(episode.action) for episode in Dataset(tmp_path / name)] for name in (*drivers, "workers")]
    assert actions[0] == actions[1] == actions[2] == actions[3]


def test_an_env_without_an_end_is_truncated(tmp_path):
    record(tmp_path / "data", max_episode_steps=2)
    episodes = list(Dataset(tmp_path / "data"))
    assert {len(episode) for episode in episodes} == {2}
    # seeds 0 and 5 end at the limit by themselves: a step can be both
    assert [episode.terminated for episode in episodes] == [True, False, False, False, False, True]
    assert all(episode.truncated for episode in episodes)


def test_any_gymnasium_id_is_recorded_at_random(tmp_path):
    summary = collect("CartPole-v1", tmp_path / "data", episodes=5, progress=False)
    assert set(summary["drivers"]) == {"random"}
    data = Dataset(tmp_path / "data")
    assert data.env_id == "CartPole-v1"
    assert [len(episode.obs) for episode in data] == [length + 1 for length in data.lengths]
    data.validate()


def test_random_actions_can_be_held():
    env = toy.make()
    driver = RandomDriver(max_hold=20)
    driver.reset(env, np.random.default_rng(0))
    actions = [int(driver.act(None)) for _ in range(2000)]
    changes = np.count_nonzero(np.diff(actions))
    assert 80 < changes < 200  # a hold is 10.5 steps on average; a third of the draws repeat the action
    assert set(actions) == {0, 1, 2}


def test_progress_shows_rate_and_returns(tmp_path, capsys):
    record(tmp_path / "data", progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "decisions/s=" in shown
    assert "return=" in shown


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def start_slow_collection(out, num_workers):
    code = (
        "from dreamgym.data.collect import collect\n"
        "if __name__ == '__main__':\n"
        f"    collect('data.toy:make_slow', {str(out)!r}, episodes=10_000, num_workers={num_workers})\n"
    )
    script = out.with_name("run.py")
    script.write_text(code)
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    env = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=env, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 30
    while sum(index.read_bytes().count(b"\n") for index in out.glob("shard-*/index.jsonl")) < 6:
        assert time.monotonic() < deadline, "nothing was recorded"
        assert process.poll() is None
        time.sleep(0.02)
    return process


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_killed_collection_keeps_every_finished_episode_and_leaves_no_process(tmp_path, num_workers):
    process = start_slow_collection(tmp_path / "data", num_workers)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)
    killed = Dataset(tmp_path / "data")
    assert len(killed) >= 6
    collect("data.toy:make", tmp_path / "whole", episodes=len(killed) + 2, progress=False)
    whole = Dataset(tmp_path / "whole")
    # two workers may have left a gap before the last episode
    assert set(killed.keys) <= set(whole.keys)
    by_key = dict(zip(whole.keys, whole, strict=True))
    for key, episode in zip(killed.keys, killed, strict=True):
        np.testing.assert_array_equal(episode.obs, by_key[key].obs)
    collect("data.toy:make", tmp_path / "data", episodes=len(killed) + 2, progress=False)
    assert same(Dataset(tmp_path / "data"), whole)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_ctrl_c_keeps_every_finished_episode_and_those_that_workers_have_under_way(tmp_path, num_workers):
    process = start_slow_collection(tmp_path / "data", num_workers)
    finished = len(Dataset(tmp_path / "data"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    assert process.wait(timeout=20) != 0
    data = Dataset(tmp_path / "data")
    assert len(data) >= finished + (num_workers > 1)
    assert [meta["seed"] for meta in data.metas] == list(range(len(data)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"episodes": None}, InvalidArgument, "neither episodes nor steps"),
        ({"episodes": 0}, InvalidArgument, "episodes is 0; expected at least 1"),
        ({"steps": -3}, InvalidArgument, "steps is -3"),
        ({"num_workers": 0}, InvalidArgument, "num_workers is 0"),
        ({"max_episode_steps": 0}, InvalidArgument, "max_episode_steps is 0"),
        ({"seed": -1}, InvalidArgument, "seed is -1"),
        ({"driver": "cylce"}, UnknownName, "unknown driver 'cylce'; .*Did you mean 'cycle'?"),
        ({"driver": {"cycle": -1}}, InvalidArgument, "driver 'cycle' has share -1"),
        ({"driver": {"cycle": 0}}, InvalidArgument, "add up to 0"),
        ({"driver": "bad", "drivers": {"bad": dict}}, InvalidArgument, "made a dict; expected an object with reset"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        record(tmp_path / "data", **arguments)
    assert not (tmp_path / "data").exists()


def test_an_unknown_env_is_refused(tmp_path):
    with pytest.raises(NameNotFound, match="CartPoel"):
        collect("CartPoel-v1", tmp_path / "data", episodes=1)


def test_another_env_cannot_be_recorded_into_the_same_folder(tmp_path):
    record(tmp_path / "data")
    with pytest.raises(InvalidDataset, match="record into another folder"):
        collect("CartPole-v1", tmp_path / "data", episodes=1)


def test_a_worker_that_dies_is_reported(tmp_path):
    with pytest.raises(DreamgymError, match="a worker process died.*keeps the finished episodes"):
        record(tmp_path / "data", driver="dying", drivers={"dying": "data.toy:Dying"}, num_workers=2)


def test_what_an_env_raises_in_a_worker_reaches_the_caller(tmp_path):
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        record(tmp_path / "data", driver="faulty", drivers={"faulty": "data.toy:Faulty"}, num_workers=2)


def test_uniform_is_chance_even_where_an_env_calls_another_driver_random():
    drivers, _ = find_drivers("CarRacing64-v0")
    assert drivers["uniform"] is RandomDriver
    assert drivers["random"] is not RandomDriver
