"""Convolutions by strides are torch's own, however they are computed: on processors by phases, on GPUs by products."""

import pytest
import torch
from timbrel.train.families.gan import generator
from timbrel.train.families.gan.generator import Lengthening, Shortening
from timbrel.train.families.gan.wavegan import WaveGAN
from timbrel.train.families.recipes import load_recipe

LENGTH = ("frames.frame_length=8192", "frames.hop_length=8192")  # layers of strides 4 and 2
SHAPES = [(25, 4), (25, 2), (25, 1), (9, 4), (4, 4), (5, 5), (7, 3), (16, 8)]


@pytest.fixture
def value():
    torch.manual_seed(0)
    return torch.randn(3, 2, 240, dtype=torch.float64)


@pytest.fixture
def products(monkeypatch):
    """The inputs of convolutions by products."""
    inputs, product = [], generator.convolve_by_product

    def noted(*arguments, **named):
        inputs.append(arguments)
        return product(*arguments, **named)

    monkeypatch.setattr(generator, "convolve_by_product", noted)
    return inputs


@pytest.fixture(params=["processor", "gpu"])
def device(request, monkeypatch, products):
    """Layers compute as they do on a device; the tensors are the processor's."""
    if request.param == "gpu":
        monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    yield
    assert bool(products) == (request.param == "gpu")


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
def test_shortening_is_a_convolution_of_the_same_weights_and_slopes(value, kernel, stride):
    layer = Shortening(2, 6, kernel, stride).double()
    assert layer(value).shape == (3, 6, 240 // stride)
    check(layer, torch.nn.Conv1d.forward, value)


@pytest.mark.usefixtures("device")
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
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-10)


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


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-10), (torch.float32, 0.05)])
def test_twenty_steps_by_products_give_the_weights_of_twenty_by_convolutions(monkeypatch, products, dtype, share):
    """As a share of the distance that they move; Adam magnifies the rounding of slopes near 0."""
    recipe = load_recipe("clip-wavegan", [*LENGTH, "network.model_size=1"])
    first, by_convolutions = weights_after(recipe, 0, dtype), weights_after(recipe, 20, dtype)
    assert not products
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    by_products = weights_after(recipe, 20, dtype)
    assert products
    assert (by_products - by_convolutions).norm() < share * (by_convolutions - first).norm()


def weights_after(recipe, steps, dtype):
    torch.manual_seed(0)
    network, chance = WaveGAN(recipe).to(dtype), torch.Generator().manual_seed(1)
    adams = {name: adam.over(network, recipe.training) for name, adam in network.optimisers.items()}
    clips = torch.randn(2, recipe.frames.frame_length, generator=chance, dtype=dtype)
    for _ in range(steps):
        for objective in network.objectives:
            terms = network(objective.name, clips, torch.zeros(2, dtype=torch.long), chance)
            network.zero_grad()
            network.total(terms).backward()
            adams[objective.optimiser].step()
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])
