"""Memories of recurrent state-space models against their formulas in NumPy."""

from functools import partial

import numpy as np
import pytest
import torch

from dreamgym.models.recurrent import BlockGru, BlockLinear, DenseGru

STOCH, ACTION, DETER, HIDDEN, LANES = 5, 2, 12, 7, 3


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def inputs():
    """Return memories, latents and actions."""
    return [torch.randn(LANES, width) for width in (DETER, STOCH, ACTION)]


def shaken(module):
    """Return a module whose biases and gains are nothing special."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def exact(tensor):
    return tensor.detach().double().numpy()


def linear(layer, x):
    return x @ exact(layer.weight).T + exact(layer.bias)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalise(norm, x):
    if isinstance(norm, torch.nn.LayerNorm):
        x = x - x.mean(1, keepdims=True)
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-3) * exact(norm.weight) + exact(norm.bias)
    if isinstance(norm, torch.nn.RMSNorm):
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-4) * exact(norm.weight)
    return x


ACTIVATE = {"elu": lambda x: np.where(x > 0, x, np.expm1(x)), "silu": lambda x: x * sigmoid(x)}


def remember(deter, reset, candidate, update):
    keep = sigmoid(update - 1)
    return keep * np.tanh(sigmoid(reset) * candidate) + (1 - keep) * deter


@pytest.mark.parametrize("activation", ["elu", "silu"])
@pytest.mark.parametrize(("norm", "gates_norm"), [("none", None), ("layer", None), ("rms", None), ("none", "layer")])
def test_the_dense_memory_follows_its_formula(norm, gates_norm, activation):
    gru = shaken(DenseGru(STOCH, ACTION, DETER, HIDDEN, norm, activation, gates_norm))
    deter, stoch, action = inputs()
    x = linear(gru.read, np.concatenate([exact(stoch), exact(action)], 1))
    x = ACTIVATE[activation](normalise(gru.read_norm, x))
    gates = normalise(gru.gates_norm, linear(gru.gates, np.concatenate([x, exact(deter)], 1)))
    expected = remember(exact(deter), *np.split(gates, 3, 1))
    assert isinstance(gru.gates_norm, torch.nn.LayerNorm) == ("layer" in (norm, gates_norm))
    assert isinstance(gru.read_norm, torch.nn.LayerNorm) == (norm == "layer")
    assert exact(gru(deter, stoch, action)) == pytest.approx(expected, abs=1e-5)


def diagonal(layer):
    """Return a block-diagonal layer's weight as one matrix `[in, out]`, zero outside of its blocks."""
    blocks, rows, columns = layer.weight.shape
    matrix = np.zeros((blocks * rows, blocks * columns))
    for i, block in enumerate(exact(layer.weight)):
        matrix[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = block
    return matrix


def test_a_block_diagonal_layer_is_a_dense_one_with_zeros():
    layer = shaken(BlockLinear(8, 12, 4))
    x = torch.randn(LANES, 8)
    assert exact(layer(x)) == pytest.approx(exact(x) @ diagonal(layer) + exact(layer.bias), abs=1e-6)


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("norm", ["none", "rms"])
def test_the_memory_in_blocks_is_a_dense_one_with_zeros(norm, blocks):
    gru = shaken(BlockGru(STOCH, ACTION, DETER, HIDDEN, norm, "silu", blocks))
    deter, stoch, action = inputs()
    seen = [
        ACTIVATE["silu"](normalise(layer[1], linear(layer[0], exact(x))))
        for layer, x in zip(gru.read, (deter, stoch, action), strict=True)
    ]
    pieces = np.split(exact(deter), blocks, 1)
    x = np.concatenate([part for piece in pieces for part in (piece, *seen)], 1)
    x = ACTIVATE["silu"](normalise(gru.mix_norm, x @ diagonal(gru.mix) + exact(gru.mix.bias)))
    gates = (x @ diagonal(gru.gates) + exact(gru.gates.bias)).reshape(LANES, blocks, 3, DETER // blocks)
    expected = remember(exact(deter), *(gates[:, :, i].reshape(LANES, DETER) for i in range(3)))
    assert exact(gru(deter, stoch, action)) == pytest.approx(expected, abs=1e-5)


def test_a_block_of_the_memory_sees_the_others_through_what_is_shown_to_all():
    gru = BlockGru(STOCH, ACTION, DETER, HIDDEN, "none", "silu", blocks=4)
    deter, stoch, action = inputs()
    deter.requires_grad_()
    gru(deter, stoch, action)[:, :3].sum().backward()
    assert deter.grad[:, 3:].abs().sum() > 0
    deter.grad = None
    torch.nn.init.zeros_(gru.read[0][0].weight)
    gru(deter, stoch, action)[:, :3].sum().backward()
    assert deter.grad[:, :3].abs().sum() > 0
    assert deter.grad[:, 3:].abs().sum() == 0


@pytest.mark.parametrize("make", [DenseGru, lambda *sizes: BlockGru(*sizes, 4)])
def test_a_memory_without_weights_fades_by_the_bias_of_its_update_gate(make):
    gru = make(STOCH, ACTION, DETER, HIDDEN, "none", "silu")
    for parameter in gru.parameters():
        torch.nn.init.zeros_(parameter)
    deter, stoch, action = inputs()
    torch.testing.assert_close(gru(deter, stoch, action), deter * 0.7310585786)  # 1 - sigmoid(-1)


@pytest.mark.parametrize("memory", [DenseGru, partial(BlockGru, blocks=3)], ids=["dense", "blocks"])
def test_without_gradients_the_memory_is_the_same(memory):
    gru = shaken(memory(STOCH, ACTION, DETER, HIDDEN, "layer", "silu"))
    deter, stoch, action = (torch.randn(9, width) for width in (DETER, STOCH, ACTION))
    with torch.no_grad():
        packed = gru(deter, stoch, action)
    torch.testing.assert_close(packed, gru(deter, stoch, action).detach(), rtol=0, atol=1e-5)
