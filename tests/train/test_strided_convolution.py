"""Convolutions by strides are torch's own, however they are computed."""

import pytest
import torch
from timbrel.train.families.gan.generator import Lengthening, Shortening

SHAPES = [(25, 4), (25, 2), (25, 1), (9, 4), (4, 4), (5, 5), (7, 3), (16, 8)]


@pytest.fixture
def value():
    torch.manual_seed(0)
    return torch.randn(3, 2, 240, dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
def test_shortening_is_a_convolution_of_the_same_weights_and_slopes(value, kernel, stride):
    layer = Shortening(2, 6, kernel, stride).double()
    assert layer(value).shape == (3, 6, 240 // stride)
    check(layer, torch.nn.Conv1d.forward, value)


@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
def test_lengthening_is_a_transposed_convolution_of_the_same_weights_and_slopes(value, kernel, stride):
    layer = Lengthening(2, 6, kernel, stride).double()
    assert layer(value).shape == (3, 6, 240 * stride)
    check(layer, torch.nn.ConvTranspose1d.forward, value)


def check(layer, torchs, value):
    found, slopes = [], []
    for forward in (type(layer).forward, torchs):
        asked = value.clone().requires_grad_()
        found.append(forward(layer, asked))
        (slope,) = torch.autograd.grad(found[-1].tanh().sum(), asked, create_graph=True)
        again = torch.autograd.grad(slope.square().sum(), [layer.weight, layer.bias, asked])
        slopes.append([slope, *again])
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("stride", [2, 4])
def test_lengthening_is_shortening_transposed(stride):
    """<shorten x, y> = <x, lengthen y> for the same kernel."""
    torch.manual_seed(1)
    down, up = Shortening(2, 3, 25, stride).double(), Lengthening(3, 2, 25, stride).double()
    torch.nn.init.zeros_(down.bias)
    torch.nn.init.zeros_(up.bias)
    up.weight = down.weight
    x, y = torch.randn(1, 2, 48).double(), torch.randn(1, 3, 48 // stride).double()
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())
