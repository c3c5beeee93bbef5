"""Layers with repacked weights: the same numbers, never stale, invisible to gradients, copies and checkpoints."""

import copy
import pickle

import pytest
import torch

from dreamgym.errors import InvalidArgument
from dreamgym.models import packed
from dreamgym.models.packed import Derived, PackedLinear, can_pack, set_precision


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return PackedLinear(291, 130)


def inferred(layer, x):
    with torch.no_grad():
        return layer(x)


@pytest.mark.parametrize("lanes", [1, 4, 67])
def test_the_packed_product_equals_the_exact_one(layer, lanes):
    x = torch.randn(lanes, 291)
    exact = x.double() @ layer.weight.double().T + layer.bias.double()
    assert (inferred(layer, x) - exact).abs().max() < 3e-6


def test_this_torch_packs(layer):
    """Speed rests on it: a torch without the private calls is still right, but this one has them."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    inferred(layer, torch.randn(8, 291))
    assert can_pack()
    assert layer._packed(torch.float32, layer.weight, layer.bias)[0].is_mkldnn


def test_without_the_private_calls_the_layer_still_computes(layer, monkeypatch):
    x = torch.randn(8, 291)
    with_them = inferred(layer, x)
    monkeypatch.setattr(packed, "can_pack", lambda: False)
    torch.testing.assert_close(inferred(copy.deepcopy(layer), x), with_them, rtol=0, atol=3e-6)


def _optimise(layer):
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    layer(torch.randn(4, 291)).square().sum().backward()
    optimizer.step()


def _load(layer):
    layer.load_state_dict({"weight": torch.ones(130, 291), "bias": torch.ones(130)})


def _assign(layer):
    state = {"weight": torch.ones(130, 291), "bias": torch.ones(130)}
    layer.load_state_dict(state, assign=True)


def _edit(layer):
    with torch.no_grad():
        layer.bias.add_(1)


@pytest.mark.parametrize("change", [_optimise, _load, _assign, _edit])
def test_a_change_of_the_weights_is_seen(layer, change):
    x = torch.randn(8, 291)
    before = inferred(layer, x)
    change(layer)
    after = inferred(layer, x)
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, torch.nn.functional.linear(x, layer.weight, layer.bias).detach())


def test_gradients_flow_as_through_a_linear_layer(layer):
    x = torch.randn(8, 291, requires_grad=True)
    inferred(layer, x)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad[0], layer.weight.sum(0).detach())
    assert layer.bias.grad.eq(8).all()


def test_copies_pickles_and_checkpoints_hold_the_parameters_only(layer):
    x = torch.randn(8, 291)
    expected = inferred(layer, x)
    assert list(layer.state_dict()) == ["weight", "bias"]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(inferred(twin, x), expected)
        _edit(twin)
        assert torch.equal(inferred(layer, x), expected)


def test_weights_made_in_inference_mode_are_accepted():
    with torch.inference_mode():
        layer, x = PackedLinear(16, 8), torch.randn(8, 16)
        torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_a_value_is_computed_once_for_the_same_weights():
    calls = []
    derived = Derived(lambda dtype, weight: calls.append(dtype) or weight.sum())
    weight = torch.ones(3)
    assert [derived(torch.float32, weight).item() for _ in range(3)] == [3, 3, 3]
    assert len(calls) == 1


def test_bfloat16_is_used_when_asked_for_and_gives_float32(layer):
    x = torch.randn(8, 291)
    exact = inferred(layer, x)
    set_precision(layer, "bf16")
    error = (inferred(layer, x) - exact).abs().max()
    assert inferred(layer, x).dtype == torch.float32
    assert 1e-4 < error < 3e-2
    set_precision(layer, "fp32")
    assert torch.equal(inferred(layer, x), exact)


def test_an_unknown_precision_is_refused(layer):
    with pytest.raises(InvalidArgument, match="precision is 'fp8'; expected one of 'fp32', 'bf16'"):
        set_precision(layer, "fp8")
