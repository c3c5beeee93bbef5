"""V: sizes of the paper, and the fast decoder against the plain one."""

import pytest
import torch

from dreamgym.models.conv_vae import ConvVae
from dreamgym.models.packed import set_precision


@pytest.fixture
def vae():
    torch.manual_seed(0)
    vae = ConvVae(8, (3, 4, 5, 6))
    with torch.no_grad():
        for layer in vae.up:
            layer.weight.mul_(4)
            layer.bias.normal_()
    return vae


def plainly(vae, z):
    """Return the decoder as the paper writes it."""
    x = vae.grow(z)[:, :, None, None]
    for conv in vae.up[:-1]:
        x = conv(x).relu()
    return vae.up[-1](x).sigmoid()


@pytest.mark.parametrize("lanes", [1, 5])
def test_decoding_equals_the_transposed_convolutions(vae, lanes):
    z = torch.randn(lanes, 8)
    expected = plainly(vae, z).detach()
    assert expected.std() > 0.1
    torch.testing.assert_close(vae.decode(z).detach(), expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(vae.decode(z), expected, rtol=0, atol=1e-6)


def test_the_fast_decoder_sees_a_change_of_the_weights(vae):
    z = torch.randn(2, 8)
    for layer in (vae.grow, *vae.up):
        with torch.no_grad():
            before = vae.decode(z)
            layer.bias.add_(0.1)
            after = vae.decode(z)
        assert (after - before).abs().max() > 1e-3
        torch.testing.assert_close(after, plainly(vae, z).detach(), rtol=0, atol=1e-6)


def test_bfloat16_changes_a_picture_by_less_than_two_grey_levels():
    torch.manual_seed(0)
    vae, z = ConvVae(32, (32, 64, 128, 256)), torch.randn(4, 32)
    with torch.no_grad():
        exact = vae.decode(z)
        set_precision(vae, "bf16")
        rounded = vae.decode(z)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 2 / 255


def test_the_code_has_a_mean_and_a_log_variance(vae):
    mean, log_variance = vae.encode(torch.rand(2, 3, 64, 64))
    assert mean.shape == log_variance.shape == (2, 8)
    assert mean.dtype == torch.float32
