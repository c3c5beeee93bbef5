"""Perceptrons that are computed together say what each says alone."""

import copy
import pickle

import pytest
import torch
from torch import nn

from dreamgym.models.packed import set_precision
from dreamgym.models.perceptrons import Perceptrons


def make(activation="silu"):
    torch.manual_seed(0)
    return Perceptrons(4, 5, 3, hidden_dim=16, layers=2, activation=activation)


def alone(net, member, activation):
    """Return one of the perceptrons as layers of torch."""
    layers = []
    for weight, bias in zip(net.weights, net.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        linear.load_state_dict({"weight": weight[member].T, "bias": bias[member, 0]})
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}


@pytest.mark.parametrize("members", [None, [1], [0, 2, 3]])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("grad", [True, False])
def test_each_says_what_it_says_alone(activation, members, grad):
    net, x = make(activation), torch.randn(7, 5)
    before = x.clone()
    with torch.set_grad_enabled(grad):
        out = net(x, None if members is None else torch.tensor(members))
    assert torch.equal(x, before)
    for row, member in zip(out, members or range(4), strict=True):
        torch.testing.assert_close(row, alone(net, member, ACTIVATIONS[activation])(x))


def test_many_lanes_are_answered_as_few_are():
    net, x = make(), torch.randn(600, 5)
    with torch.no_grad():
        torch.testing.assert_close(net(x), torch.cat([net(part) for part in x.split(100)], 1))


def test_the_first_weights_are_as_wide_as_those_of_a_layer_of_torch():
    torch.manual_seed(0)
    net, layer = Perceptrons(50, 9, 2, hidden_dim=64, layers=1, activation="relu"), nn.Linear(9, 3200)
    assert net.weights[0].abs().max().item() == pytest.approx(layer.weight.abs().max().item(), rel=0.01)
    assert net.weights[0].std().item() == pytest.approx(layer.weight.std().item(), rel=0.02)
    assert net.biases[0].std().item() == pytest.approx(layer.bias.std().item(), rel=0.05)


def test_a_change_of_weights_or_of_members_is_seen():
    net, x, members = make(), torch.randn(7, 5), torch.tensor([0, 2])
    with torch.no_grad():
        first = net(x, members)
        members.copy_(torch.tensor([1, 3]))
        second = net(x, members)
        net.biases[-1].add_(1)
        torch.testing.assert_close(net(x, members), second + 1)
        torch.testing.assert_close(net(x)[[0, 2]], first + 1)


def test_copies_and_checkpoints_hold_the_parameters_only():
    net, x = make(), torch.randn(7, 5)
    with torch.no_grad():
        expected = net(x, torch.tensor([2]))
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(twin(x, torch.tensor([2])), expected)
    assert all(name.startswith(("weights.", "biases.")) for name in net.state_dict())


def test_bfloat16_is_used_when_asked_for_and_gives_float32():
    net, x = make(), torch.randn(7, 5)
    with torch.no_grad():
        exact = net(x)
        set_precision(net, "bf16")
        reduced = net(x)
    assert reduced.dtype == torch.float32
    assert 1e-5 < (reduced - exact).abs().max() < 2e-2
