"""`dreamgym bench`: every figure is there and means what it says, and a step never looks at its data."""

import json
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from oracle import counting_dream

from dreamgym.bench.ensemble import one_by_one
from dreamgym.bench.learning import imagined_speed, random_batch, training_speed
from dreamgym.bench.planning import planning_speed, print_planning
from dreamgym.bench.report import aims, print_bench
from dreamgym.bench.speed import bench, measure, step_products, untrained
from dreamgym.bench.steady import drift, memory_by_lanes, memory_by_steps
from dreamgym.cli import main
from dreamgym.core.model import StageConfig
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import named_leaves, to_device
from dreamgym.envs.open import open_dream
from dreamgym.envs.simulator import Simulator
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument
from dreamgym.hub import LoadedDream, load, save_dream
from dreamgym.models.rssm import Config, Rssm
from dreamgym.models.vae_mdn_rnn import VaeMdnRnn
from dreamgym.planners.shooting import CemConfig

EVERYTHING = {"limit", "eager", "step", "simulator", "torch", "numpy", "sb3", "pixels", "real"}


@pytest.fixture(scope="module")
def dream():
    return untrained()


@pytest.fixture(scope="module")
def recurrent():
    """Return a dream of another family, small and untrained."""
    config = Config(groups=2, classes=3, deter_dim=8, hidden_dim=8, channels=(2, 2, 2, 2), reward="squared")
    pictures, wheel = spaces.Box(0, 255, (16, 16, 3), np.uint8), spaces.Box(-1, 1, (3,), np.float32)
    model = Rssm(config, pictures, wheel).eval()
    return LoadedDream(model, StartBank(model.initial(5), torch.ones(5, dtype=torch.bool)), {"id": "Recurrent-v0"})


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


def test_the_products_of_any_family_are_found_those_of_block_diagonal_weights_too(recurrent):
    heads = [(8, 8), (8, 6), (14, 8), (8, 1), (14, 8), (8, 1)]  # prior, reward and ending, in some order
    dense = step_products(recurrent.model)
    assert dense[:2] == [(6 + 3, 8), (8 + 8, 3 * 8)]
    assert sorted(dense[2:]) == sorted(heads)
    config = replace(recurrent.model.config, blocks=2)
    blocks = step_products(Rssm(config, recurrent.model.observation_space, recurrent.model.action_space))
    assert blocks[:3] == [(8, 8), (6, 8), (3, 8)]
    assert blocks[3:7] == [(4 + 3 * 8, 4)] * 2 + [(4, 12)] * 2
    assert blocks[7:] == dense[2:]


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


def test_every_stage_is_trained_forward_and_backward_and_pictures_in_both_precisions(dream, recurrent):
    both, spaces = ["fp32", "bf16"], (dream.model.observation_space, dream.model.action_space)
    small = LoadedDream(VaeMdnRnn(tiny.CONFIG, *spaces), dream.starts)
    for loaded, expected in ((small, {"vae": both, "mdn_rnn": ["fp32"]}), (recurrent, {"rssm": both})):
        rows = training_speed(loaded, seconds=0.001)
        assert {row["stage"]: list(row["frames_per_second"]) for row in rows} == expected
        assert all(rate > 0 for row in rows for rate in row["frames_per_second"].values())
        assert all(parameter.grad is None for parameter in loaded.model.parameters())


def test_a_batch_of_training_has_the_stages_own_size(recurrent):
    config = StageConfig(batch_size=3, sequence_length=4)
    batch = random_batch(recurrent.model, "rssm", config, "cpu")
    assert batch.obs.shape == (3, 5, 3, 16, 16)
    assert batch.action.shape == (3, 4, 3)
    assert batch.mask.shape == batch.reward.shape == (3, 4)
    assert 0.4 < batch.obs.mean() < 0.6


def test_rollouts_are_imagined_with_gradients_where_any_flow(recurrent):
    assert imagined_speed(recurrent, seconds=0.001)["steps_per_second"] > 0
    stiff = counting_dream()
    stiff.model.differentiable = False
    assert imagined_speed(stiff, seconds=0.001) is None
    assert training_speed(stiff) == []


def test_a_folder_is_measured_like_any_dream_and_its_training_is_printed(recurrent, tmp_path, capsys):
    folder = save_dream(tmp_path / "night", recurrent.model, recurrent.starts, {"id": "Recurrent-v0"})
    with pytest.raises(SystemExit, match="0"):
        main(["bench", str(folder), "--lanes", "2", "--seconds", "0.001", "--training", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert (figures["dream"], figures["family"]) == ("Recurrent-v0", "Rssm")
    print_bench(figures)
    printed = capsys.readouterr().out
    assert f"bf16 {figures['training'][0]['frames_per_second']['bf16']:,.0f}" in printed
    assert f"256 rollouts of 15 steps: {figures['imagined']['steps_per_second']:,.0f}" in printed


def test_plans_are_timed_for_several_envs_at_once(capsys):
    config = CemConfig(horizon=2, num_candidates=4, num_elites=2, num_iterations=3)
    found = planning_speed(load("DreamCartPole-v0"), 0.001, envs=(1, 3), config=config)
    for row, envs in zip(found["rows"], (1, 3), strict=True):
        assert row["envs"] == envs
        assert row["milliseconds_each"] == pytest.approx(row["milliseconds"] / envs)
        assert row["imagined_steps_per_second"] == pytest.approx(envs * 24 / row["milliseconds"] * 1e3)
        assert row["of_real"] > 0
    print_planning({**found, "aim_milliseconds": 1e9})
    printed = capsys.readouterr().out
    assert "CEM, 3 rounds of 4 candidates, 2 steps ahead" in printed
    assert "aim: 1000000000 ms for one env" in printed
    assert printed.rstrip().endswith("met")
    print_planning({**found, "aim_milliseconds": 1e-9})
    assert capsys.readouterr().out.rstrip().endswith("missed")


def test_another_family_has_aims_of_its_own(figures):
    row = {"lanes": 1, "of_limit": {"step": 0.1}, "of_real": {}, "steps_per_second": {"pixels": 51.0}}
    many = {**row, "lanes": 256, "of_limit": {"step": 0.6}}
    training = [{"stage": "rssm", "frames_per_second": {"fp32": 800.0, "bf16": 1100.0}}]
    found = aims({**figures, "family": "Rssm", "rows": [row, many], "training": training})
    assert [(aim["aim"], aim["reached"], aim["met"]) for aim in found] == [
        (0.5, 0.6, True), (50, 51.0, True), (1200, 1100.0, False)
    ]  # fmt: skip


def test_an_ensemble_is_measured_beside_a_loop_over_its_members_and_without_info():
    found = bench("DreamCartPole-v0", lanes=(2,), seconds=0.01)
    assert {"quiet", "loop"} <= set(found["rows"][0]["steps_per_second"])
    row = {"lanes": 1024, "of_limit": {"step": 0.5}, "steps_per_second": {"step": 3.0, "loop": 2.0}}
    first, second = aims({**found, "rows": [{**row, "lanes": 256, "of_limit": {"step": 0.1}}, row]})
    assert (first["aim"], first["reached"], first["met"]) == (0.6, 0.5, False)
    assert (second["reached"], second["met"]) == (1.5, True)


@torch.no_grad()
def test_the_loop_over_members_dreams_what_the_batched_ensemble_dreams():
    dream = load("DreamCartPole-v0")
    looped = one_by_one(dream.model)
    state, action = dream.starts.sample(torch.rand(9)), torch.eye(2)[torch.arange(9) % 2]
    noise = torch.randn(9, dream.model.noise_dim)
    ours, theirs = dream.model.step(state, action, noise), looped.step(state, action, noise)
    assert torch.allclose(ours.state.obs, theirs.state.obs, atol=1e-5)
    assert torch.allclose(ours.termination, theirs.termination, atol=1e-5)
    assert one_by_one(counting_dream().model) is None


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
@pytest.mark.parametrize("wrap", [[], [("random_temperature", {}), ("tent", {"peak": 1}), ("horizon", {"horizon": 9})]])
def test_a_step_is_one_graph_for_the_compiler(mode, wrap):
    dream = untrained()
    dream = dream.__class__(dream.model.to("meta"), to_device(dream.starts, "meta"))
    dream = open_dream(dream, None, wrap, "meta")
    simulator = Simulator(dream.model, dream.starts, max_episode_steps=9, autoreset_mode=mode)
    with torch.no_grad():
        lanes = simulator.begin(torch.arange(8, device="meta"))
        step = torch.compile(simulator.step, fullgraph=True, backend="eager")
        after, _ = step(lanes, torch.zeros(8, 3, device="meta"))
    assert after.state.z.shape == (8, 32) if not wrap else after.state.inner.temperature.shape == (8, 1)
