"""The LSTM cell against torch's, and the masked mean."""

import pytest
import torch

from dreamgym.models.layers import LSTMCell, masked_mean


@pytest.fixture
def cells():
    """Return our cell and torch's with the same weights; torch's gates lie as input, forget, cell, output."""
    torch.manual_seed(0)
    ours, theirs = LSTMCell(7, 12), torch.nn.LSTMCell(7, 12)
    order = torch.cat([torch.arange(0, 24), torch.arange(36, 48), torch.arange(24, 36)])
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.weight[order, :7])
        theirs.weight_hh.copy_(ours.weight[order, 7:])
        theirs.bias_ih.copy_(ours.bias[order])
        theirs.bias_hh.zero_()
    return ours, theirs


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("lanes", [1, 9])
def test_a_step_equals_that_of_torchs_cell(cells, grad, lanes):
    ours, theirs = cells
    x, h, c = 3 * torch.randn(lanes, 7), torch.randn(lanes, 12), 3 * torch.randn(lanes, 12)
    with torch.set_grad_enabled(grad):
        got, expected = ours.step([x[:, :5], x[:, 5:]], h, c), theirs(x, (h, c))
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


def test_unrolling_equals_stepping(cells):
    ours, _ = cells
    x, h, c = torch.randn(3, 5, 7), torch.randn(3, 12), torch.randn(3, 12)
    unrolled = ours.unroll(x, h, c)
    for t in range(5):
        h, c = ours.step([x[:, t]], h, c)
        torch.testing.assert_close(unrolled[:, t], h)


def test_a_new_cell_remembers():
    cell = LSTMCell(7, 12)
    assert cell.bias[12:24].eq(1).all()
    assert cell.bias[:12].abs().max() < 1


def test_the_masked_mean_looks_at_nothing_else():
    x = torch.tensor([[1.0, 3.0, 1000.0]])
    assert masked_mean(x, torch.tensor([[1.0, 1.0, 0.0]])) == 2
    assert masked_mean(x, torch.zeros(1, 3)) == 0
