"""A doubling convolution gives what torch's transposed one gives, by either way of computing it, gradients included."""

import pytest
import torch
from torch import nn

from dreamgym.models.sub_pixel import DoublingConv


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 8)])
def test_blocks_are_the_transposed_convolution(height: int, width: int) -> None:
    torch.manual_seed(0)
    conv = DoublingConv(6, 3).double()
    x = torch.randn(2, 6, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 2 * height, 2 * width, dtype=torch.float64)
    found = []
    for compute in (lambda x: nn.ConvTranspose2d.forward(conv, x), conv.by_blocks):
        y = compute(x)
        assert y.shape == weight.shape
        found.append([y, *torch.autograd.grad((y * weight).sum(), [x, conv.weight, conv.bias])])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_blocks_are_used_in_bfloat16_and_change_nothing_beyond_its_rounding(monkeypatch) -> None:
    torch.manual_seed(0)
    calls = []
    by_blocks = DoublingConv.by_blocks
    monkeypatch.setattr(DoublingConv, "by_blocks", lambda conv, x: calls.append(x.shape) or by_blocks(conv, x))
    conv = DoublingConv(8, 3)
    x = torch.randn(2, 8, 8, 8)
    exact = conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        conv(x[:, :, :4, :4].bfloat16())  # small maps
        assert not calls
        reduced = conv(x.bfloat16())
    assert calls == [x.shape]
    torch.testing.assert_close(reduced.float(), exact, rtol=0.05, atol=0.02)
