"""The DCGAN has the post's shape, its two turns ask for what they should, and its halves are an autoencoder."""

import itertools

import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train.families.gan.dcgan import DCGAN, Halves
from timbrel.train.families.recipes import load_recipe
from torch import nn

SMALL = ["network.channels=[2,3]", "frames.frame_length=4096", "frames.hop_length=4096", "network.latents=6"]
LABELS = torch.zeros(4, dtype=torch.long)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return DCGAN(load_recipe("clip-dcgan", SMALL))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_recipe_holds_the_posts_numbers():
    recipe = load_recipe("clip-dcgan")
    assert (recipe.network.latents, recipe.frames.frame_length, recipe.frames.sample_rate) == (500, 64000, 16000)
    assert recipe.frames.frame_length / recipe.frames.sample_rate == 4
    assert recipe.training.epochs == 50
    assert recipe.frames.normalised
    assert len(recipe.network.channels) == 4
    assert recipe.network.normalised_discriminator
    halves = load_recipe("clip-dcgan-halves")
    assert (halves.network, halves.frames) == (recipe.network, recipe.frames)


def test_codes_of_500_become_64000_samples_and_these_one_number_from_0_to_1():
    network = DCGAN(load_recipe("clip-dcgan", ["network.channels=[1,1,1,1]"])).eval()
    clips = network.decode(network.draw(2, chance()))
    assert clips.shape == (2, 64000)
    judged = network.judge(clips, None)
    assert judged.shape == (2,)
    assert ((judged > 0) & (judged < 1)).all()
    assert network.trunk(clips).shape == (2, 500)


@pytest.mark.parametrize("part", ["generator", "trunk"])
def test_each_side_has_four_convolutions_with_what_the_post_names_between_them(part):
    layers = [type(layer) for layer in getattr(DCGAN(load_recipe("clip-dcgan")), part)]
    places = [n for n, layer in enumerate(layers) if issubclass(layer, nn.Conv1d | nn.ConvTranspose1d)]
    assert len(places) == 4
    for first, then in itertools.pairwise(places):
        assert layers[first + 1 : then] == [nn.ReLU, nn.BatchNorm1d, nn.Dropout]
    assert nn.Linear in layers


def test_a_discriminator_without_normalisation_judges_a_clip_alike_in_any_batch_and_the_generator_keeps_its_own():
    changes = [*SMALL, "network.dropout=0"]
    plain, bare = (
        DCGAN(load_recipe("clip-dcgan", [*changes, f"network.normalised_discriminator={value}"]))
        for value in ("true", "false")
    )
    counts = [
        [sum(isinstance(layer, nn.BatchNorm1d) for layer in part) for part in (network.trunk, network.generator)]
        for network in (plain, bare)
    ]
    assert counts == [[1, 1], [0, 1]]
    clips = torch.rand(4, 4096, generator=chance()) - 0.5
    with torch.no_grad():
        for network, alike in ((plain, False), (bare, True)):
            network.train()
            alone, together = network.judge(clips[:1].repeat(4, 1)), network.judge(clips)
            assert torch.allclose(alone[0], together[0], atol=1e-6) is alike
    assert set(bare.state_dict()) < set(plain.state_dict())  # layers keep their numbers


def test_a_length_that_strides_do_not_divide_is_refused():
    with pytest.raises(UserError, match="frame_length 64001 must be a multiple of 256, by which 4 layers shorten it"):
        load_recipe("clip-dcgan", ["frames.frame_length=64001"])


def test_the_discriminators_terms_are_cross_entropies_of_its_answers(small):
    small.eval()
    clips = 0.1 * torch.randn(4, 4096, generator=chance(1))
    terms = small.discrimination(clips, LABELS, chance(2))
    made = small.decode(small.draw(4, chance(2)))
    entropy = nn.functional.binary_cross_entropy
    torch.testing.assert_close(terms["real"], entropy(small.judge(clips), torch.ones(4)))
    torch.testing.assert_close(terms["made"], entropy(small.judge(made), torch.zeros(4)))
    torch.testing.assert_close(
        small.deception(clips, LABELS, chance(2))["deception"], entropy(small.judge(made), torch.ones(4))
    )


def test_each_turn_has_slopes_for_its_own_side_alone(small):
    clips = 0.1 * torch.randn(4, 4096)
    own = {"discrimination": ("trunk", "verdict"), "deception": ("generator",)}
    for turn, modules in own.items():
        small.zero_grad(set_to_none=True)
        small.total(small(turn, clips, LABELS, chance())).backward()
        assert {name.split(".")[0] for name, p in small.named_parameters() if p.grad is not None} == set(modules)


def test_what_drops_out_follows_from_the_turn_s_chance_and_no_other(small):
    clips = 0.1 * torch.randn(4, 4096, generator=chance(1))
    found = []
    for seed, other in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(other)
        before = torch.get_rng_state()
        found.append(float(small.discrimination(clips, LABELS, chance(seed))["real"].detach()))
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1] != found[2]


def test_halves_decode_what_they_encode():
    torch.manual_seed(0)
    network = Halves(load_recipe("clip-dcgan-halves", SMALL))
    clips = 0.5 * torch.randn(4, 4096)
    assert network.encode(clips).shape == (4, 6)
    network.eval()
    (term,) = network.reconstruction(clips, LABELS, chance()).values()
    torch.testing.assert_close(term, (network.decode(network.encode(clips)) - clips).square().mean())


def test_halves_have_the_weights_of_the_two_halves(small):
    halves = Halves(load_recipe("clip-dcgan-halves", SMALL)).state_dict()
    whole = {name: value for name, value in small.state_dict().items() if not name.startswith("verdict")}
    assert {name: value.shape for name, value in halves.items()} == {name: v.shape for name, v in whole.items()}
