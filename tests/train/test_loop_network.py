"""A network of loops: slices come back from their codes, choices are drawn as they should be, and it plays on."""

import math

import numpy as np
import pytest
import torch
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.errors import UserError
from timbrel.train.families import FAMILIES
from timbrel.train.families.loops.data import (
    OFFBEAT_DELAYS,
    THIN,
    THINNER,
    extract_slices,
    loops,
    retimed,
    sliced,
    tilted,
)
from timbrel.train.families.loops.network import LoopNetwork, SliceFeatures, harmonics, medoids
from timbrel.train.families.loops.synthesis import joined, sound_of
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.metrics.rhythm import groove
from timbrel.train.run import Run, trained

from .looped import BAR, SMALL, STEP, grooves, loop, loops_of
from .loops import CPU
from .struck import RATE, corpus_of, hat


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return grooves(tmp_path_factory.mktemp("looped") / "corpus")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    start(load_recipe("tuned-sequence", ["frames.sample_rate=8000", *SMALL]), corpus.folder, folder, CPU)
    return Run.open(folder)


@pytest.fixture(scope="module")
def network(run):
    return trained(run, "last")[0]


def begun(corpus, changes=()):
    recipe = FAMILIES["loops"].complete(load_recipe("tuned-sequence", [*SMALL, *changes]), corpus)
    network = LoopNetwork(recipe).eval()
    network.initialise(FAMILIES["loops"].data(corpus, recipe, corpus.folder))
    return network, recipe


def test_a_recipe_takes_the_grid_of_the_corpus_and_no_more_prototypes_than_slices(tmp_path):
    corpus = loops_of(tmp_path / "one", [loop(0, bars=1)])
    recipe = FAMILIES["loops"].complete(load_recipe("tuned-sequence", []), corpus)
    assert (recipe.frames.sample_rate, recipe.frames.hop_length) == (8000, STEP)
    assert recipe.frames.frame_length % STEP in (64, 128)
    assert recipe.frames.bar == BAR
    assert recipe.network.prototypes == BAR
    assert FAMILIES["loops"].complete(recipe, corpus) == recipe


def test_a_network_after_a_trial_measures_the_slices_of_all_loops_anew(tmp_path):
    corpus = loops_of(tmp_path / "c", [loop(seed) for seed in range(3)], ["train", "train", "test"])
    recipe = load_recipe("tuned-sequence", ["frames.sample_rate=8000", *SMALL, "training.steps=1"])
    recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update={"prototypes": 90})})
    start(recipe, corpus.folder, tmp_path / "trial", CPU)
    start(recipe, corpus.folder, tmp_path / "run", CPU, trial=tmp_path / "trial")
    tried, learned = (Run.open(tmp_path / name) for name in ("trial", "run"))
    assert (tried.recipe.network.prototypes, learned.recipe.network.prototypes) == (2 * 2 * BAR, 90)
    assert len(learned.corpus().clips("train")) == 3
    assert "3 loops" in FAMILIES["loops"].describe(learned.corpus(), learned.recipe)


def test_slices_begin_with_the_end_of_their_loop_and_join_to_it_again(corpus):
    recipe = FAMILIES["loops"].complete(load_recipe("tuned-sequence", []), corpus)
    sound = corpus.samples(corpus.clips()[0])
    cut = sliced(sound, recipe)
    overlap = recipe.frames.frame_length - STEP
    assert np.array_equal(cut[0, :overlap], sound[-overlap:])
    assert np.array_equal(cut[3, overlap:], sound[3 * STEP : 4 * STEP])
    whole = joined(cut, STEP)
    inside = np.arange(len(whole)) % STEP < STEP - overlap
    assert np.allclose(whole[inside], sound[inside])


def test_where_slices_are_not_alike_their_powers_add_up_to_one():
    rng = np.random.default_rng(0)
    whole = joined(rng.standard_normal((4000, 96)).astype(np.float32), 64)
    power = np.square(whole.reshape(-1, 64)[1:-1]).mean(0)
    assert np.abs(power - 1).max() < 0.15


def test_sequences_go_round_their_loop_from_each_bar_on(corpus):
    recipe = FAMILIES["loops"].complete(load_recipe("tuned-sequence", ["network.bars=3"]), corpus)
    assert len(FAMILIES["loops"].data(corpus, recipe, corpus.folder)) == 24
    slices = extract_slices(corpus, loops(corpus, "train", recipe), recipe)
    first, second = slices.take_slices(np.array([0, 1]), 48, np.zeros(2, np.int64))
    assert len(first) == 48
    assert torch.equal(first[:16], first[32:])
    assert torch.equal(first[16:32], second[:16])
    assert not torch.equal(first[:16], first[16:32])


def test_what_follows_is_straight_and_what_is_heard_and_fed_are_variants_of_it(corpus):
    recipe = FAMILIES["loops"].complete(load_recipe("tuned-sequence", SMALL), corpus)
    slices = extract_slices(corpus, loops(corpus, "train", recipe), recipe)
    data = FAMILIES["loops"].data(corpus, recipe, corpus.folder)
    chosen = np.repeat(np.arange(4), 64)
    told, heard, fed, tilts, late, density = data.batch(chosen, np.random.default_rng(1))
    kinds = [slices.take_slices(chosen, BAR, np.full(256, number)) for number in range(len(OFFBEAT_DELAYS))]
    are = [torch.stack([(given == kind).all(2).all(1) for kind in kinds]) for given in (told, heard, fed)]
    assert torch.equal(are[0].any(0), torch.ones(256, dtype=torch.bool))
    thin = late.isnan()
    assert 0.3 < thin.float().mean() < 0.5
    assert are[0][0][~thin].all()
    assert are[0][-2:].any(0)[thin].all()
    assert (are[1][OFFBEAT_DELAYS.index(0.3)] == ((late - 0.3).abs() < 1e-6))[chosen % 2 == 0].all()
    other = (are[2] != are[1]).any(0).float().mean()
    assert other > 0.6
    assert np.corrcoef(tilts.T)[0, 1] == pytest.approx(0, abs=0.15)
    assert density[thin].mean() < density[~thin].mean() - 0.5
    assert tilts.min() < -2.5
    assert tilts.max() > 1.5


def test_slices_come_late_in_features_as_they_do_in_sound(corpus):
    network, recipe = begun(corpus, ["network.components=40", "network.prototypes=40"])
    sound = np.array(corpus.samples(corpus.clips()[0]))
    assert groove(sound, RATE, STEP, 4).swing == pytest.approx(0, abs=0.05)
    with torch.no_grad():
        codes = network.coded(network.features.raw(torch.from_numpy(sliced(sound, recipe))))
    for late in (0.0, 0.15, 0.33):
        made = sound_of(network, recipe, codes, late=late)
        assert groove(made, RATE, STEP, 4).swing == pytest.approx(late, abs=0.06)


@pytest.mark.parametrize("own", [0.0, 0.2])
@pytest.mark.parametrize("late", [0.0, 0.15, 0.3])
def test_off_beats_come_as_late_as_they_are_asked_to(own, late):
    made = retimed(loop(3, swing=own, hats=1), RATE, STEP, late)
    assert groove(made, RATE, STEP, 4).swing == pytest.approx(late, abs=0.05)


@pytest.mark.parametrize(("late", "kept"), [(THIN, 2), (THINNER, 4)])
def test_off_beats_can_be_left_out(late, kept):
    full = loop(3, hats=1)
    thin = retimed(full, RATE, STEP, late)
    assert len(thin) == len(full)
    assert groove(thin, RATE, STEP, 4).density == pytest.approx(4 / kept, abs=0.3)
    beats = np.abs(thin - full).reshape(-1, kept, STEP)[:, 0, : STEP - 100]
    assert beats.max() < 1e-6


@pytest.mark.parametrize("tilt", [-3.0, 2.0])
def test_tilted_features_are_those_of_tilted_sound(corpus, tilt):
    recipe = FAMILIES["loops"].complete(load_recipe("tuned-sequence", SMALL), corpus)
    seen = SliceFeatures(RATE, recipe.frames.frame_length)
    sound = np.array(corpus.samples(corpus.clips()[1]))
    other = tilted(sound, RATE, tilt)
    assert np.square(other).mean() == pytest.approx(np.square(sound).mean(), rel=1e-3)
    plain, asked = (seen.raw(torch.from_numpy(sliced(part, recipe))) for part in (sound, other))
    given = seen.tilted(plain[None], torch.tensor([tilt]))[0]
    for was, wanted, made in zip(*(seen.parts(part) for part in (plain, asked, given)), strict=True):
        heard = was > was.max() - 4.6  # 40 dB: what is softer, windows and filters smear
        assert (made - wanted)[heard].square().mean() < 0.3 * (was - wanted)[heard].square().mean()


def test_of_silence_nothing_is_heard_and_loud_slices_stay_loud(tmp_path):
    quiet = 0.1 * loop(1)
    quiet[: 8 * STEP] = 0.0
    corpus = loops_of(tmp_path / "loops", [loop(1), quiet])
    network, recipe = begun(corpus, ["network.components=40", "network.prototypes=40"])
    for clip in corpus.clips():
        sound = corpus.samples(clip)
        with torch.no_grad():
            codes = network.coded(extract_slices(corpus, [clip], recipe).raw[0].float())
        given = sound_of(network, recipe, codes)
        levels = [np.sqrt(np.square(part.reshape(-1, STEP)).mean(1)) for part in (sound, given)]
        silent, loud = levels[0] < 1e-6, levels[0] > 0.1 * levels[0].max()
        silent &= np.roll(silent, -1)  # before a hit it comes in softly
        assert levels[1][silent].max(initial=0) < 2e-6  # -114 dB
        assert np.abs(20 * np.log10(levels[1][loud] / levels[0][loud])).max() < 1.0
    assert network.features.frames(network.features.silence()[None]).abs().max() < 1e-5


def test_prototypes_are_slices_and_every_cluster_has_one():
    rng = np.random.default_rng(0)
    middles = 10 * rng.standard_normal((8, 5))
    codes = torch.from_numpy(
        (middles[rng.integers(8, size=200)] + 0.1 * rng.standard_normal((200, 5))).astype(np.float32)
    )
    found = medoids(codes, 8)
    assert torch.cdist(found, codes).min(1).values.max() == 0
    assert torch.cdist(torch.from_numpy(middles.astype(np.float32)), found).min(1).values.max() < 1


def test_a_choice_with_noise_is_drawn_nearly_as_a_softmax_draws(corpus):
    network, _ = begun(corpus)
    after = torch.randn(1, 32, generator=torch.Generator().manual_seed(3)) * 4
    network.hits.zero_()
    steered = torch.zeros(1, 4)
    with torch.no_grad():
        asked = torch.softmax(network.chances(after), 1)[0]
        noise = torch.randn(40000, len(asked), generator=torch.Generator().manual_seed(4))
        drawn = torch.bincount(network.sample_prototypes(after, noise, steered), minlength=len(asked)) / len(noise)
        assert int(network.sample_prototypes(after, 0 * noise[:1], steered)) == int(asked.argmax())
    assert 0.5 * float((drawn - asked).abs().sum()) < 0.03  # total variation; normal noise of Gumbel's deviation has .1
    entropies = [float(-(p * p.clamp_min(1e-9).log()).sum()) for p in (drawn, asked)]
    assert abs(entropies[0] - entropies[1]) < 0.1


def test_codes_of_dense_loops_favour_hits_and_codes_of_others_what_goes_on(corpus):
    network, _ = begun(corpus)
    after = torch.randn(4000, 32, generator=torch.Generator().manual_seed(5))
    noise = torch.randn(4000, 24, generator=torch.Generator().manual_seed(6))
    hits = []
    with torch.no_grad():
        for asked in (-1.5, 0.0, 1.5):
            network.density.weight.zero_()
            network.density.bias.fill_(asked)
            hits.append(float(network.hits[network.sample_prototypes(after, noise, torch.zeros(4000, 4))].mean()))
    assert hits[0] < hits[1] - 0.5 < hits[2] - 1.0
    ends = network.prototypes[torch.stack([network.hits.argmax(), network.hits.argmin()])]
    levels = network.features.parts(network.features.bounded(network.decoded(ends)))[1].detach().numpy()
    assert np.ptp(levels[0]) > np.ptp(levels[1])


def test_harmonics_tell_every_step_of_a_bar_from_all_others():
    steps = harmonics(torch.arange(BAR) / BAR, BAR // 2)
    assert np.linalg.matrix_rank(np.c_[np.ones(BAR), steps.numpy()], tol=1e-3) == BAR


def test_training_learns_what_follows(run, network, corpus):
    logged = run.logged()
    assert logged[-1]["choice"] < math.log(24) - 0.5
    assert logged[-1]["bend"] < 1.0


def test_codes_of_a_stretch_played_on_lie_at_slices_and_do_not_stand(network):
    seed, steered = torch.zeros(2, 0, 16), torch.zeros(2, 4)
    made = network.continued(seed, steered, 400, 1.0, torch.Generator().manual_seed(0))
    far = torch.cdist(made.flatten(0, 1), network.prototypes).min(1).values
    apart = torch.cdist(network.prototypes, network.prototypes)
    assert far.max() < apart.max() / 2
    chosen = network.nearest_prototypes(made)
    assert all(len(part.unique()) > 4 for part in chosen.split(100, 1))
    assert not torch.equal(chosen[0], chosen[1])
    cold = [network.continued(seed, steered, 40, 0.0, torch.Generator().manual_seed(n)) for n in (1, 2)]
    assert torch.equal(*cold)


def test_what_follows_a_seed_is_what_follows_it_step_by_step(network, corpus):
    """A memory that is told half a seed, and goes on with the rest, is where one is that was told it whole."""
    seed = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(1))
    place = (torch.arange(8) / BAR)[None]
    steered = torch.zeros(1, 4)
    with torch.no_grad():
        whole, _ = network.remembered(seed, place, steered)
        first, state = network.remembered(seed[:, :5], place[:, :5], steered)
        rest, _ = network.remembered(seed[:, 5:], place[:, 5:], steered, state)
    assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-6)


def test_clips_that_are_no_loops_are_refused_and_loops_that_are_left_out_are_named(tmp_path):
    recipe = load_recipe("tuned-sequence", [])
    with pytest.raises(UserError, match="its clips lie on no grid; build it with: timbrel corpus build SOUNDS --loops"):
        FAMILIES["loops"].check(corpus_of(tmp_path / "hats", [hat(1)]), recipe)
    corpus = loops_of(tmp_path / "loops", [loop(0), loop(1)[:STEP]])
    told = FAMILIES["loops"].describe(corpus, FAMILIES["loops"].complete(recipe, corpus))
    assert told == (
        "1 loop at 117.19 BPM, 32 slices of 1024 samples; 1 loop of less than a beat is left out ('loop 1')"
    )
    with pytest.raises(UserError, match="no training loop that sounds and has a beat"):
        FAMILIES["loops"].check(loops_of(tmp_path / "short", [loop(1)[:STEP]]), recipe)


def test_sounds_of_slices_are_those_of_their_frames(network, run):
    seen = network.features
    codes = network.prototypes[:2]
    with torch.no_grad():
        frames = seen.frames(network.decoded(codes)).numpy()
    made = SpectraSound(seen.length, seen.transform, seen.hop, seen.points)(frames)
    assert np.array_equal(sound_of(network, run.recipe, codes), joined(made, STEP))
    assert len(loops(run.corpus(), "train", run.recipe)) == 12


def test_no_slice_is_louder_than_a_host_would_let_it_be(run):
    network = trained(run, "last")[0]
    codes = network.prototypes[:6]
    loud = sound_of(network, run.recipe, codes).reshape(6, -1)
    level = 20 * np.log10(np.sqrt(np.square(loud).mean(1)).max())
    held = sound_of(network, run.recipe, codes, level - 12).reshape(6, -1)
    assert 20 * np.log10(np.sqrt(np.square(held).mean(1)).max()) == pytest.approx(level - 12, abs=1.5)
    assert np.array_equal(sound_of(network, run.recipe, codes, level + 12).reshape(6, -1), loud)
