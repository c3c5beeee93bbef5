"""The papers' models by name: what they say, and how many weights their sizes have."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.errors import UnknownName
from dreamgym.models.rssm import Config, Rssm
from dreamgym.models.rssm_sizes import PRESETS, SIZES, dreamer_v1, dreamer_v2, dreamer_v3, planet

PICTURES = spaces.Box(0, 255, (64, 64, 3), np.uint8)
ACTIONS = spaces.Box(-1.0, 1.0, (6,), np.float32)
FAMILIES = [planet, dreamer_v1, dreamer_v2, dreamer_v3]


def count(config):
    """Return how many weights a world model of pictures has, none of which is made."""
    with torch.device("meta"):
        return sum(p.numel() for p in Rssm(config, PICTURES, ACTIONS).parameters())


@pytest.mark.parametrize("size", [name for name in SIZES if name.startswith("size")])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_has_about_as_many_weights_as_its_name_says(family, size):
    millions = int(size.removeprefix("size").removesuffix("m"))
    # the names of Dreamer V3's sizes count an actor and a critic too
    low, high = (0.65, 0.95) if family is dreamer_v3 else (0.94, 1.05)
    assert low < count(family(size)) / (1e6 * millions) < high


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_for_cpus_are_small_and_grow(family):
    counts = [count(family(size)) for size in SIZES if size != "size1m"]
    assert counts[0] < 0.8e6
    assert 2e6 < counts[1] < 3.5e6
    assert counts == sorted(counts)


def test_the_cpu_size_is_that_of_the_default_config():
    names = ("deter_dim", "hidden_dim", "groups", "classes", "channels", "blocks")
    for config in (dreamer_v2("cpu"), dreamer_v3("cpu")):
        assert [getattr(config, name) for name in names] == [getattr(Config(), name) for name in names]


@pytest.mark.parametrize(
    ("size", "deter", "hidden", "classes", "channels"),
    [
        ("size1m", 512, 64, 4, (8, 12, 16, 16)),
        ("size12m", 2048, 256, 16, (32, 48, 64, 64)),
        ("size25m", 3072, 384, 24, (48, 72, 96, 96)),
        ("size50m", 4096, 512, 32, (64, 96, 128, 128)),
        ("size100m", 6144, 768, 48, (96, 144, 192, 192)),
        ("size200m", 8192, 1024, 64, (128, 192, 256, 256)),
    ],
)
def test_dreamer_v3_has_the_widths_of_its_table(size, deter, hidden, classes, channels):
    config = dreamer_v3(size)
    assert (config.deter_dim, config.hidden_dim, config.classes, config.channels) == (deter, hidden, classes, channels)
    assert (config.groups, config.blocks) == (32, 8)


def test_without_a_size_each_is_the_papers():
    sizes = {family.__name__: (family().deter_dim, family().groups, family().channels[0]) for family in FAMILIES}
    assert sizes == {
        "planet": (200, 30, 32),
        "dreamer_v1": (200, 30, 32),
        "dreamer_v2": (600, 32, 48),
        "dreamer_v3": (8192, 32, 128),
    }
    assert [family().head_dim for family in FAMILIES] == [None, 400, 400, None]
    assert [family().free_nats for family in FAMILIES] == [3.0, 3.0, 0.0, 1.0]
    assert [family().unimix for family in FAMILIES] == [0.0, 0.0, 0.0, 0.01]
    weights = [(family().dynamics_weight, family().representation_weight) for family in FAMILIES]
    assert weights == [(1.0, 1.0), (1.0, 1.0), (pytest.approx(0.08), pytest.approx(0.02)), (1.0, 0.1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_changes_no_loss(family):
    kept = [name for name in Config.__annotations__ if name.endswith(("_weight", "_nats", "_each")) or "norm" in name]
    for size in SIZES:
        assert [getattr(family(size), name) for name in kept] == [getattr(family(), name) for name in kept]


def test_presets_are_the_families_and_their_sizes():
    named = {f"{f.__name__}-{size}" for f in FAMILIES for size in SIZES}
    assert set(PRESETS) == {f.__name__ for f in FAMILIES} | named | {"take_cover"}
    assert PRESETS["dreamer_v2-size25m"]() == dreamer_v2("size25m")
    assert PRESETS["planet"]() == planet()
    assert Rssm.presets is PRESETS


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_size_is_refused_with_the_closest_name(family):
    with pytest.raises(UnknownName, match=r"unknown size 'size12'; available: cpu, .*Did you mean 'size12m'\?"):
        family("size12")
