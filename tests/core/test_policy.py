"""Policies as files: they act the same after a round trip, and anything else is refused by name and reason."""

import json
import pickle
import re

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file

from dreamgym.core.policy import Policy, PolicyConfig, check_policy, load_policy, mean_policy, save_policy
from dreamgym.errors import CorruptDream, ForeignDream, InvalidArgument, PolicyMismatch

STEER = spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))
KEYS = spaces.Discrete(3, start=4)


def policy(space=STEER, **config):
    torch.manual_seed(0)
    return Policy(PolicyConfig(**{"input_dim": 5, "hidden": (7,), **config}), space).eval()


@pytest.mark.parametrize("space", [STEER, KEYS, spaces.Box(-2, 2, (2, 2), np.float64)], ids=str)
@pytest.mark.parametrize(("output", "activation"), [("clip", "relu"), ("tanh", "silu")])
def test_a_policy_acts_the_same_after_a_round_trip(space, output, activation, tmp_path):
    before = policy(space, output=output, activation=activation, dream="D", model_sha256="abc")
    after = load_policy(save_policy(before, tmp_path / "deep" / "p.safetensors"))
    features = torch.randn(6, 5)
    assert torch.equal(before.act(features), after.act(features))
    assert after.config == before.config
    assert after.action_space == space
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "p.safetensors"]


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_a_normalised_policy_is_blind_to_the_scale_of_its_first_layer_and_is_read_back(norm, tmp_path):
    before = policy(norm=norm, activation="silu")
    with torch.no_grad():
        before.net[0].weight.mul_(1000)
        before.net[0].bias.zero_()
    features = torch.randn(6, 5)
    assert torch.allclose(before(features), before(10 * features), atol=1e-4)
    after = load_policy(save_policy(before, tmp_path / "p.safetensors"))
    assert torch.equal(before.act(features), after.act(features))


def test_a_file_from_before_there_were_norms_is_read(tmp_path):
    before = policy()
    path = save_policy(before, tmp_path / "p.safetensors")

    def forget(header, weights):
        config = json.loads(header["config"])
        del config["norm"]
        header["config"] = json.dumps(config)

    rewrite(path, forget)
    assert load_policy(path).config == before.config


@pytest.mark.parametrize("space", [STEER, KEYS, spaces.Box(-0.1, 0.1, (2, 2), np.float64)], ids=str)
@pytest.mark.parametrize("output", ["clip", "tanh"])
def test_every_action_lies_in_the_space(space, output):
    wild = policy(space, output=output)
    with torch.no_grad():
        wild.net[-1].weight.mul_(100)
    for action in wild.act(torch.randn(50, 5)).numpy(force=True):
        assert space.contains(np.asarray(action))


def test_tanh_stretches_over_the_bounds_and_clip_stops_at_them():
    raw = torch.tensor([[0.0, 0.0, 9.0]])
    assert policy(output="tanh").bound(raw)[0].tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert policy().bound(raw)[0].tolist() == [0.0, 0.0, 1.0]


def test_a_discrete_policy_takes_the_largest_preference():
    assert policy(KEYS).bound(torch.tensor([[0.1, 0.2, 0.15]])).tolist() == [5]


def test_the_papers_controller_has_867_weights():
    assert policy(hidden=(), input_dim=288).num_weights() == 867


def test_settings_that_do_not_exist_are_refused_by_their_name():
    with pytest.raises(InvalidArgument, match="activation is 'gelu'; expected one of tanh, relu, elu, silu"):
        policy(activation="gelu")
    with pytest.raises(InvalidArgument, match="norm is 'batch'; expected one of none, layer, rms"):
        policy(norm="batch")
    with pytest.raises(InvalidArgument, match="output is 'sigmoid'; expected one of clip, tanh"):
        policy(output="sigmoid")
    with pytest.raises(InvalidArgument, match=r"output is 'tanh', which needs bounds; .*Box\(-inf, inf.* has none"):
        policy(spaces.Box(-np.inf, np.inf, (2,)), output="tanh")


def test_a_file_that_is_not_there_is_refused_by_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"no policy at {tmp_path / 'none.safetensors'}")):
        load_policy(tmp_path / "none.safetensors")


@pytest.mark.parametrize("suffix", [".zip", ".pt", ".pkl", ""])
def test_a_file_that_may_hold_a_pickle_is_refused_unread(suffix, tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    path = tmp_path / f"p{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ForeignDream, match=re.escape(f"{path} is no dreamgym policy (.safetensors)")):
        load_policy(path)


def test_a_pickle_under_a_false_name_is_refused_too(tmp_path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(pickle.dumps([1, 2, 3] * 100))
    with pytest.raises(CorruptDream, match=re.escape(f"{path} cannot be read: ")):
        load_policy(path)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_refused_by_its_path(kept, tmp_path):
    path = save_policy(policy(), tmp_path / "p.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorruptDream, match=re.escape(f"{path} cannot be read: ")):
        load_policy(path)


@pytest.mark.parametrize("header", [None, {"format": "pt"}, {"format": "dreamgym.policy.2"}])
def test_a_file_with_another_header_is_foreign(header, tmp_path):
    path = tmp_path / "p.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata=header)
    with pytest.raises(ForeignDream, match=re.escape(f"{path} is a safetensors file, but its header is no dreamgym")):
        load_policy(path)


def rewrite(path, edit):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = dict(file.metadata())
    weights = load_file(path)
    edit(header, weights)
    save_file(weights, path, metadata=header)


@pytest.mark.parametrize(
    "edit",
    [
        lambda header, weights: header.pop("config"),
        lambda header, weights: header.update(config="{"),
        lambda header, weights: header.update(config="[]"),
        lambda header, weights: header.update(config=json.dumps({"input_dim": 5, "hidden": [7], "colour": 1})),
        lambda header, weights: header.update(config=json.dumps({"input_dim": "5", "hidden": [7]})),
        lambda header, weights: header.update(action_space=json.dumps({"type": "Box"})),
        lambda header, weights: weights.pop("net.0.bias"),
        lambda header, weights: weights.update({"net.0.bias": torch.zeros(8)}),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_corrupt(edit, tmp_path):
    path = save_policy(policy(), tmp_path / "p.safetensors")
    rewrite(path, edit)
    with pytest.raises(CorruptDream, match=re.escape(f"{path} does not hold what its header describes: ")):
        load_policy(path)


def test_a_policy_of_another_dream_is_refused_by_what_differs():
    mine = policy(dream="DreamCar-v0", model_sha256="a" * 64)
    check_policy(mine, STEER, 5, "a" * 64, "X")
    check_policy(mine, STEER, 5, "", "X")
    check_policy(policy(), STEER, 5, "b" * 64, "X")
    with pytest.raises(
        PolicyMismatch, match=r"the policy acts in Box\(.*; DreamDodge-v0 expects Discrete\(3, start=4\)"
    ):
        check_policy(mine, KEYS, 5, "", "DreamDodge-v0")
    with pytest.raises(PolicyMismatch, match="the policy sees 5 features; DreamDodge-v0 has 6"):
        check_policy(mine, STEER, 6, "", "DreamDodge-v0")
    expected = "trained in DreamCar-v0 with weights aaaaaaaaaaaa; DreamDodge-v0 has weights bbbbbbbbbbbb"
    with pytest.raises(PolicyMismatch, match=expected):
        check_policy(mine, STEER, 5, "b" * 64, "DreamDodge-v0")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save_policy(policy(), tmp_path / "p.safetensors")
    before = path.read_bytes()

    def fail(self, content):
        self.touch()
        raise OSError("full")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="full"):
        save_policy(policy(hidden=(3,)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("widths", [[(), ()], [(7,), (3,)], [(4, 6), (5, 2), (3, 3)]], ids=str)
def test_the_mean_of_policies_gives_the_mean_of_their_outputs_and_is_one_policy(widths, tmp_path):
    members = []
    for seed, hidden in enumerate(widths):
        torch.manual_seed(seed)
        members.append(Policy(PolicyConfig(input_dim=5, hidden=hidden, dream="D", model_sha256="abc"), STEER))
    mean = load_policy(save_policy(mean_policy(members), tmp_path / "mean.safetensors"))
    features = torch.randn(6, 5)
    assert torch.allclose(mean(features), torch.stack([member(features) for member in members]).mean(0), atol=1e-6)
    assert mean.config.dream == "D"
    assert mean.config.hidden == tuple(map(sum, zip(*widths, strict=True)))


@pytest.mark.parametrize(
    "others",
    [[], [policy(activation="relu")], [policy(hidden=(7, 7))], [policy(space=KEYS)], [policy(model_sha256="other")]],
    ids=["none", "activation", "depth", "actions", "dream"],
)
def test_policies_that_do_not_fit_together_have_no_mean(others):
    with pytest.raises(InvalidArgument, match="expected some that differ in weights and widths alone"):
        mean_policy([policy(), *others] if others else [])
    with pytest.raises(InvalidArgument, match="without norms"):
        mean_policy([policy(norm="layer")])
