"""Counter-based noise: independent streams, and blocks that are never anything but the plain functions."""

import random

import pytest
import torch

from dreamgym.core import noise
from dreamgym.core.noise import DYNAMICS, PLAN, START, TERMINATION, Blocks, fold, normal, uniform

MANY = 200_000


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.fixture(scope="module")
def normals() -> torch.Tensor:
    return normal(torch.zeros(MANY, dtype=torch.int64), DYNAMICS, torch.arange(MANY), 4)


def test_normal_has_the_moments_of_a_standard_normal(normals):
    x = normals.double()
    assert x.mean(0).abs().max() < 0.01
    assert (x.std(0) - 1).abs().max() < 0.01
    assert (x**3).mean(0).abs().max() < 0.03  # skewness
    assert ((x**4).mean(0) - 3).abs().max() < 0.08  # kurtosis
    assert normals.isfinite().all()


def test_normal_has_the_tails_of_a_standard_normal(normals):
    for limit in (1.0, 2.0, 3.0):
        expected = 2 * torch.special.ndtr(torch.tensor(-limit)).item()
        assert float((normals.abs() > limit).float().mean()) == pytest.approx(expected, rel=0.08)


def test_uniform_is_uniform_in_the_half_open_interval():
    x = uniform(torch.full((MANY,), 7), START, torch.arange(MANY))
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() < 1
    counts = torch.histc(x, 20, 0, 1)
    assert (counts / MANY * 20 - 1).abs().max() < 0.05


def test_the_numbers_of_one_call_are_independent(normals):
    for i in range(4):
        for j in range(i):
            assert abs(correlation(normals[:, i], normals[:, j])) < 0.01


@pytest.mark.parametrize("seeds", ["neighbours", "equal"])
def test_lanes_are_independent_of_each_other(seeds):
    seed = torch.arange(MANY)
    a, b = (
        normal(seed + shift, DYNAMICS, torch.zeros_like(seed), 1) for shift in (0, 1 if seeds == "neighbours" else 0)
    )
    assert (abs(correlation(a, b)) < 0.01) == (seeds == "neighbours")


def test_streams_are_independent_of_each_other():
    seed, count = torch.arange(MANY), torch.zeros(MANY, dtype=torch.int64)
    streams = [uniform(seed, stream, count) for stream in (DYNAMICS, START, TERMINATION)]
    for i in range(3):
        for j in range(i):
            assert abs(correlation(streams[i], streams[j])) < 0.01


def test_counts_are_independent_of_each_other():
    seed, count = torch.zeros(MANY, dtype=torch.int64), torch.arange(MANY)
    for later in (1, 2, 64):
        a, b = normal(seed, DYNAMICS, count, 1), normal(seed, DYNAMICS, count + later, 1)
        assert abs(correlation(a, b)) < 0.01


def test_a_step_of_the_seed_is_no_step_of_the_count_or_the_stream():
    zero, one = torch.tensor([0]), torch.tensor([1])
    draws = [normal(zero, DYNAMICS, one, 4), normal(one, DYNAMICS, zero, 4), normal(zero, START, zero, 4),
             normal(zero, DYNAMICS, zero, 4), normal(-one, DYNAMICS, zero, 4)]  # fmt: skip
    rounded = {tuple(draw[0].tolist()) for draw in draws}
    assert len(rounded) == len(draws)


def test_folded_seeds_draw_independently_of_each_other_and_of_the_first():
    seed, zeros = torch.arange(MANY), torch.zeros(MANY, dtype=torch.int64)
    seeds = [seed, *(fold(seed, PLAN, zeros + count) for count in (0, 1))]
    assert len(torch.cat(seeds).unique()) == 3 * MANY
    draws = [normal(one, DYNAMICS, zeros, 1) for one in seeds]
    for i in range(3):
        for j in range(i):
            assert abs(correlation(draws[i], draws[j])) < 0.01
    assert torch.equal(fold(seed[7:8], PLAN, zeros[:1]), seeds[1][7:8])
    assert torch.equal(noise._bits(seed, PLAN, zeros, 1)[:, 0], seeds[1])  # what an accelerator computes


def test_seed_zero_is_as_good_as_any(normals):
    assert normals[0].abs().sum() > 0
    assert not torch.equal(normals[0], normal(torch.tensor([1]), DYNAMICS, torch.tensor([0]), 4)[0])


@pytest.mark.parametrize("width", [0, 1, 2, 3, 64])
def test_a_lane_draws_the_same_whatever_the_number_of_lanes(width):
    seed, count = torch.tensor([5, -3, 2**62, 9]), torch.tensor([0, 7, 7, 123456])
    together = normal(seed, DYNAMICS, count, width)
    assert together.shape == (4, width)
    for lane in range(4):
        row = torch.tensor([lane])
        assert torch.equal(normal(seed[row], DYNAMICS, count[row], width), together[row])


@pytest.mark.parametrize("lanes", [1, 3, 64, 3000])
@pytest.mark.parametrize("ahead", [1, 5, 64])
def test_blocks_are_the_plain_functions_whatever_happens_to_the_lanes(lanes, ahead):
    rng, blocks = random.Random(lanes * 100 + ahead), Blocks(ahead)
    seed, count = torch.arange(lanes), torch.zeros(lanes, dtype=torch.int64)
    kept = [(seed, count)]
    for _ in range(150 if lanes < 3000 else 12):
        for stream in rng.sample([DYNAMICS, START, TERMINATION], rng.randint(0, 3)):
            if stream == DYNAMICS:
                got, plain = blocks.normal(seed, stream, count, 3), normal(seed, stream, count, 3)
            else:
                got, plain = blocks.uniform(seed, stream, count), uniform(seed, stream, count)
            assert torch.equal(got, plain)
        what = rng.random()
        if what < 0.7:
            count = blocks.advance(seed, count)
        elif what < 0.76:  # one lane stays behind
            count = count + (torch.arange(lanes) != rng.randrange(lanes))
        elif what < 0.82:  # a lane is seeded again
            where = torch.arange(lanes) == rng.randrange(lanes)
            seed, count = torch.where(where, rng.randrange(1000), seed), count.masked_fill(where, 0)
        elif what < 0.88:  # get_state
            kept.append((seed, count))
        elif what < 0.94:  # set_state
            seed, count = rng.choice(kept)
        else:  # fork: other seeds, other lanes
            lanes = rng.choice([1, 2, lanes])
            seed, count = torch.randint(1000, (lanes,)), torch.zeros(lanes, dtype=torch.int64)
            kept = [(seed, count)]


def test_blocks_draw_little_more_than_is_used_when_every_step_is_a_surprise(monkeypatch):
    drawn, plain = [], noise.normal
    monkeypatch.setattr(noise, "normal", lambda seed, *rest: drawn.append(len(seed)) or plain(seed, *rest))
    blocks, seed = Blocks(), torch.arange(4)
    for _ in range(50):
        count = torch.zeros(4, dtype=torch.int64)
        for _ in range(2):
            blocks.normal(seed, DYNAMICS, count, 3)
            count = blocks.advance(seed, count)
    assert sum(drawn) <= 2 * 4 * 100


def test_blocks_look_far_ahead_for_lanes_that_keep_in_step(monkeypatch):
    calls, plain = [], noise.normal
    monkeypatch.setattr(noise, "normal", lambda *args: calls.append(1) or plain(*args))
    blocks, seed, count = Blocks(), torch.arange(4), torch.zeros(4, dtype=torch.int64)
    for _ in range(500):
        blocks.normal(seed, DYNAMICS, count, 3)
        count = blocks.advance(seed, count)
    assert len(calls) < 20
