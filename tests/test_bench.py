"""`dreamgym bench`: every figure is there and means what it says, and a step never looks at its data."""

import json
import time
from itertools import pairwise

import pytest
import torch
from oracle import counting_dream

from dreamgym.bench.report import aims, print_bench
from dreamgym.bench.speed import bench, measure, step_products, untrained
from dreamgym.bench.steady import drift, memory_by_lanes, memory_by_steps
from dreamgym.cli import main
from dreamgym.core.tree import named_leaves, to_device
from dreamgym.envs.simulator import Simulator
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument

EVERYTHING = {"limit", "eager", "step", "simulator", "torch", "numpy", "sb3", "pixels", "real"}


@pytest.fixture(scope="module")
def dream():
    return untrained()


@pytest.fixture(scope="module")
def figures(dream):
    return bench(dream, lanes=(1, 3), seconds=0.01)


def test_every_layer_is_measured_at_every_number_of_lanes(figures):
    assert [row["lanes"] for row in figures["rows"]] == [1, 3]
    for row in figures["rows"]:
        assert set(row["steps_per_second"]) == EVERYTHING
        assert all(rate > 0 for rate in row["steps_per_second"].values())


def test_ratios_are_those_of_the_rates_beside_them(figures):
    for row in figures["rows"]:
        rates = row["steps_per_second"]
        assert row["of_limit"]["step"] == pytest.approx(rates["step"] / rates["limit"])
        assert row["of_real"]["torch"] == pytest.approx(rates["torch"] / rates["real"])


def test_the_products_of_a_step_are_found_in_the_order_of_use(dream):
    assert step_products(dream.model) == [(32 + 3 + 256, 4 * 256), (256, 3 * 5 * 32 + 2)]  # the LSTM, the heads


def test_measuring_takes_turns_and_gives_the_time_of_one_call():
    order = []

    def busy(name, seconds):
        def call():
            order.append(name)
            until = time.thread_time() + seconds
            while time.thread_time() < until:
                pass

        return call

    taken = measure({"short": busy("short", 0.001), "long": busy("long", 0.004)}, seconds=0.05)
    assert 2 < taken["long"] / taken["short"] < 6
    changes = sum(a != b for a, b in pairwise(order))
    assert changes > 10


def test_a_dream_without_pictures_or_real_twin_has_neither_figure():
    (row,) = bench(counting_dream(), lanes=(2,), seconds=0.01)["rows"]
    assert {"pixels", "real"}.isdisjoint(row["steps_per_second"])
    assert row["of_real"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": ()}, r"lanes is \(\)"),
        ({"lanes": (4, 0)}, r"lanes is \(4, 0\)"),
        ({"seconds": 0.0}, "seconds is 0.0"),
    ],
)
def test_what_cannot_be_measured_is_refused(dream, options, message):
    with pytest.raises(InvalidArgument, match=message):
        bench(dream, **options)


def test_an_aim_is_met_by_the_worst_row_and_not_by_the_best(figures):
    row = {"of_limit": {"step": 2.0}, "of_real": {}, "steps_per_second": {"step": 2.0, "torch": 2.0}}
    rows = [{**row, "lanes": 256}, {**row, "lanes": 4096, "of_limit": {"step": 1.0}}]
    rows[1]["steps_per_second"] = {"step": 2.0, "torch": 2.0, "sb3": 2.0, "simulator": 2.1}
    found = {aim["what"]: aim for aim in aims({**figures, "rows": rows})}
    assert found["step / bare products, 256 lanes and more"]["reached"] == 1.0
    assert not found["step / bare products, 256 lanes and more"]["met"]
    assert found["SB3 bridge / simulator, 4096 lanes"]["met"]
    assert "step / plain eager, one lane" not in found  # not measured


def test_no_aims_are_claimed_for_other_dreams(figures):
    assert aims({**figures, "real": "Dodge-v0"}) == []


def test_state_grows_with_lanes_alone(dream):
    one, many = memory_by_lanes(dream, (1, 64), steps=3)
    assert one["bytes_per_lane"] == many["bytes_per_lane"] == 4 * (32 + 256 + 256) + 4 * 8 + 1


def test_a_long_run_costs_what_a_short_one_does(dream):
    early, late = memory_by_steps(dream, lanes=4, steps=(200, 1000))
    assert late["microseconds"] < 2 * early["microseconds"]
    assert late["peak_mb"] - early["peak_mb"] < 5


def test_drift_is_nothing_without_reduction_and_small_with_it(dream):
    assert all(row["features"] == 0 < row["unrelated_features"] for row in drift(dream, "fp32", lanes=8, steps=10))
    first, *_ = drift(dream, "bf16", lanes=64, steps=3)
    assert 0 < first["features"] < 0.2 * first["unrelated_features"]


def test_the_command_prints_the_same_figures_for_scripts_and_for_people(capsys):
    arguments = ["bench", "--lanes", "2", "--seconds", "0.01", "--precision", "bf16", "--json"]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["rows"][0]["steps_per_second"]) == EVERYTHING | {"bf16"}
    print_bench(figures)
    printed = capsys.readouterr().out
    for text in (f"{figures['rows'][0]['of_limit']['step']:.2f}", "share of the limit", "SB3 bridge", "float32"):
        assert text in printed


def test_memory_is_printed_if_it_was_measured(dream, figures, capsys):
    memory = {"memory_by_lanes": memory_by_lanes(dream, (1,)), "memory_by_steps": memory_by_steps(dream, 1, (2, 40))}
    print_bench({**figures, **memory})
    printed = capsys.readouterr().out
    assert "2,209" in printed  # bytes of state a lane
    assert "40" in printed


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_step_on_an_accelerator_never_looks_at_its_data(mode):
    dream = untrained()
    dream.model.to("meta")  # tensors without data: whatever asks for a value raises
    env = DreamVectorEnv(
        dream.__class__(dream.model, dream.starts.to("meta"), dream.card), 8,
        observation="features", output="torch", autoreset_mode=mode, device="meta",
    )  # fmt: skip
    lanes = env.simulator.begin(torch.arange(8, device="meta"))
    action = torch.zeros(8, 3, device="meta")
    for _ in range(2):
        lanes, outcome = env.simulator.step(lanes, action)
        env.view.observe(lanes.state)
    assert all(leaf.is_meta for leaf in named_leaves(lanes).values())
    with pytest.raises(RuntimeError):  # as anything would that looked
        bool(outcome.terminated.any())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_step_is_one_graph_for_the_compiler(mode):
    dream = untrained()
    simulator = Simulator(
        dream.model.to("meta"), to_device(dream.starts, "meta"), max_episode_steps=9, autoreset_mode=mode
    )
    with torch.no_grad():
        lanes = simulator.begin(torch.arange(8, device="meta"))
        step = torch.compile(simulator.step, fullgraph=True, backend="eager")
        after, _ = step(lanes, torch.zeros(8, 3, device="meta"))
    assert after.state.z.shape == (8, 32)
