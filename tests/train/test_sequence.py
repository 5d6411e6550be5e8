"""Networks that continue sound frame by frame: their frames, their memory, what they are fed, and what they refuse."""

import numpy as np
import pytest
import scipy
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe
from timbrel.train.families.sequence.data import cut, joined, pieces
from timbrel.train.families.sequence.network import LEAST, UNKNOWN, RecurrentNetwork, Standard, delayed
from timbrel.train.launch import resume, start
from timbrel.train.run import Run, trained
from torch import nn

from .loops import CPU
from .struck import RATE, corpus_of, hat, tom

LENGTH, HOP = 64, 48
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={LENGTH}",
    f"frames.hop_length={HOP}",
    "network.size=24",
    "training.steps=3",
]


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def recipe(*changes, name="sequence-samples"):
    return load_recipe(name, [*SMALL, *changes])


def network_of(*changes, clips=3, name="sequence-samples"):
    asked = recipe(*changes, name=name)
    torch.manual_seed(1)
    told = asked.network.model_copy(update={"clips": clips})
    return RecurrentNetwork(asked.model_copy(update={"network": told}))


def noises(*lengths):
    rng = np.random.default_rng(0)  # anew each time: no test depends on those before it
    return [0.3 * rng.standard_normal(length).astype(np.float32) for length in lengths]


@pytest.fixture
def corpus(tmp_path):
    """Three sounds of 10, 5 and 4 frames, the last of them cut off, and one frame of silence after each."""
    return corpus_of(tmp_path / "corpus", noises(10 * HOP, 5 * HOP, 3 * HOP + 7))


# ---- frames


def test_a_frame_begins_an_overlap_before_its_step_and_silence_is_around_a_recording(corpus):
    clip = corpus.clips()[2]
    (piece,) = [piece for piece in pieces(corpus, "train", recipe().frames) if piece.clip == clip]
    frames, sound = cut(corpus, piece, recipe().frames), corpus.samples(clip)
    assert frames.shape == (5, LENGTH)  # 3 whole ones, one that is cut off, and one of silence
    for number, frame in enumerate(frames):
        for place, sample in enumerate(frame):
            at = number * HOP - (LENGTH - HOP) + place
            assert sample == (sound[at] if 0 <= at < len(sound) else 0)


@pytest.mark.parametrize("hop", [LENGTH, HOP, LENGTH // 2])
def test_frames_join_to_the_sound_that_they_were_cut_from(corpus, hop):
    settings = recipe(f"frames.hop_length={hop}").frames
    for piece in pieces(corpus, "train", settings):
        sound = corpus.samples(piece.clip)
        whole = joined(cut(corpus, piece, settings), hop)
        assert len(whole) == piece.frames * hop
        assert np.allclose(whole[: len(sound)], sound, atol=1e-6)
        assert np.all(whole[len(sound) :] == 0)


def test_long_recordings_are_cut_into_sequences_that_know_what_was_before(corpus):
    settings = recipe("frames.longest=4").frames
    found = pieces(corpus, "train", settings)
    # Ten frames: 4, 4, 2 and the silence. Five: 4, and one that is too few. Four, and the silence.
    assert [(piece.name, piece.start // HOP, piece.frames) for piece in found] == [
        ("clip 0", 0, 4),
        ("clip 0 2", 4, 4),
        ("clip 0 3", 8, 3),
        ("clip 1", 0, 4),
        ("clip 2", 0, 5),
    ]
    assert found.frame_counts.tolist() == [4, 4, 3, 4, 5]
    assert found[-1] == found[4]
    assert found[1:3] == [found[1], found[2]]
    sound = corpus.samples(found[1].clip)
    begin = 4 * HOP - (LENGTH - HOP)
    assert np.array_equal(cut(corpus, found[1], settings)[0], sound[begin : begin + LENGTH])
    assert "recordings of more than 4 frames are cut into several" in FAMILIES["sequence"].describe(
        corpus, recipe("frames.longest=4")
    )


@pytest.mark.parametrize("name", ["sequence-samples", "sequence-fft", "sequence-post-fft"])
def test_mean_and_deviation_of_each_position_are_those_of_all_frames(corpus, name):
    asked = recipe(name=name)
    data = FAMILIES["sequence"].data(corpus, asked, corpus.folder)
    frames = np.concatenate([cut(corpus, piece, asked.frames) for piece in data.train]).astype(float)
    if name == "sequence-fft":
        spectra = np.fft.rfft(frames)
        frames = np.concatenate([spectra.real, spectra.imag], 1)
    elif name == "sequence-post-fft":
        packed = scipy.fftpack.rfft(frames)  # real and imaginary parts by turns, as many numbers as samples
        frames = np.concatenate([packed[:, :1], packed[:, 1::2], packed[:, 2::2]], 1)
    standard = Standard(asked.frames)
    standard.measure(data)
    assert standard.mean.numpy() == pytest.approx(frames.mean(0), abs=1e-5)
    usual = np.sqrt(frames.var(0).mean())
    deviation = np.maximum(frames.std(0), LEAST * usual)
    assert standard.deviation.numpy() == pytest.approx(deviation, rel=1e-4)
    assert standard.width == (LENGTH + 2 if name == "sequence-fft" else LENGTH)
    if name == "sequence-fft":  # no part of a real sound is imaginary at 0 Hz and at the highest
        assert np.all(frames.std(0)[[LENGTH // 2 + 1, -1]] < 1e-9)
    given = torch.from_numpy(np.concatenate([cut(corpus, piece, asked.frames) for piece in data.train]))
    assert torch.allclose(standard.to_samples(standard(given)), given, atol=1e-5)
    seen = standard(given)
    assert torch.allclose(seen.mean(0), torch.zeros(standard.width), atol=1e-3)


def test_half_complex_frames_are_real_and_imaginary_parts_without_the_two_that_are_zero():
    half, whole = (Standard(recipe(f"frames.domain={domain}").frames) for domain in ("half_complex", "real_imag"))
    frames = torch.randn(5, LENGTH)
    assert torch.equal(half.fill_zero_parts(half(frames)), whole(frames))
    assert torch.equal(half.drop_zero_parts(whole(frames)), half(frames))
    assert half.fill_zero_parts(half(frames), 7.0)[0, [LENGTH // 2 + 1, -1]].tolist() == [7, 7]
    for other in (whole, Standard(recipe().frames)):
        assert torch.equal(other.drop_zero_parts(other(frames)), other(frames))
        assert torch.equal(other.fill_zero_parts(other(frames)), other(frames))


def test_without_restoring_one_deviation_serves_all_positions():
    standard = Standard(recipe().frames)
    standard.mean.fill_(5.0)
    standard.deviation.copy_(torch.linspace(1, 3, LENGTH))
    frames = torch.randn(4, LENGTH)
    usual = np.sqrt(np.mean(np.linspace(1, 3, LENGTH) ** 2))
    assert torch.allclose(standard.to_samples(frames, restored=False), frames * usual, rtol=1e-4)


# ---- what is learned


def batch_of(corpus, network, asked):
    data = FAMILIES["sequence"].data(corpus, asked, corpus.folder)
    network.initialise(data)
    return data.batch(np.arange(len(data)), np.random.default_rng(0))


@torch.no_grad()
def test_padding_does_not_count(corpus):
    asked, network = recipe(), network_of()
    sounds, counts, numbers = batch_of(corpus, network, asked)
    assert counts.tolist() == [11, 6, 5]

    def error(*batch):
        return float(network.reconstruction(*batch, torch.Generator())["mean_square"])

    whole = error(sounds, counts, numbers)
    sounds[1, 6:] = 100.0
    assert error(sounds, counts, numbers) == whole
    rows = [slice(row, row + 1) for row in range(3)]
    alone = [error(sounds[row, : counts[row]], counts[row], numbers[row]) * int(counts[row] - 1) for row in rows]
    assert whole == pytest.approx(sum(alone) / int(counts.sum() - 3), rel=1e-5)


@torch.no_grad()
def test_first_frames_have_an_error_of_their_own(corpus):
    """They follow from codes alone, which GRUV has not: its figures are of the others."""
    network = network_of()
    sounds, counts, numbers = batch_of(corpus, network, recipe())
    terms = network.reconstruction(sounds, counts, numbers, torch.Generator())
    frames = network.standard(sounds)
    made = network.continued(frames[:, :0], network.codes(numbers), 1)
    assert float(terms["first"]) == pytest.approx(float((made - frames[:, :1]).square().mean()), rel=1e-4)
    sounds[:, 0] += 0.01
    after = network.reconstruction(sounds, counts, numbers, torch.Generator())
    assert after["first"] != terms["first"]


def test_each_frame_is_predicted_from_those_before_it_alone(corpus):
    network = network_of()
    fed, codes = delayed(torch.randn(1, 8, LENGTH)), torch.randn(1, 2)
    assert torch.all(fed[:, 0] == 0)
    before = network.predict(fed, codes)[0]
    fed[:, 5] += 1
    after = network.predict(fed, codes)[0]
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])


def test_the_memory_goes_on_however_far_gradients_reach():
    whole, short = network_of("network.reach=128"), network_of("network.reach=3")
    fed, codes = torch.randn(2, 10, LENGTH), torch.randn(2, 2)
    assert torch.allclose(whole.predict(fed, codes)[0], short.predict(fed, codes)[0], atol=1e-6)
    slopes = []
    for network in (whole, short):
        given = fed.clone().requires_grad_()
        network.predict(given, codes)[0][:, 9].sum().backward()
        slopes.append(given.grad.abs().sum((0, 2)))
    assert torch.all(slopes[0] > 0)
    assert torch.all(slopes[1][:9] == 0)  # the fourth part begins there
    assert slopes[1][9] > 0


@pytest.mark.parametrize("seeded", [0, 1, 4])
def test_what_is_continued_is_stepped_cell_by_cell_with_its_own_frames(seeded):
    """Torch's own cells, one a layer."""
    network = network_of("network.layers=2")
    seed, code = torch.randn(1, seeded, LENGTH), torch.randn(1, 2)
    found = network.continued(seed, code, 9)
    cells = [nn.LSTMCell(24, 24) for _ in range(2)]
    for layer, cell in enumerate(cells):
        cell.load_state_dict(
            {
                name.removesuffix(f"_l{layer}"): value
                for name, value in network.memory.state_dict().items()
                if name.endswith(f"_l{layer}")
            }
        )
    states, previous, expected = [(torch.zeros(1, 24), torch.zeros(1, 24)) for _ in cells], torch.zeros(1, LENGTH), []
    with torch.no_grad():
        for step in range(9):
            value = network.into(torch.cat([previous, code], 1))
            for layer, cell in enumerate(cells):
                states[layer] = cell(value, states[layer])
                value = states[layer][0]
            previous = seed[:, step] if step < seeded else network.out(value)
            expected.append(previous)
    assert found.shape == (1, 9, LENGTH)
    assert torch.allclose(found, torch.stack(expected, 1), atol=1e-5)


def test_codes_have_a_mean_of_zero_which_stands_for_what_has_none():
    network = network_of(clips=5)
    found = network.codes(torch.tensor([0, 1, 2, 3, 4, UNKNOWN]))
    assert torch.allclose(found[:5].mean(0), torch.zeros(2), atol=1e-6)
    assert torch.all(found[5] == 0)
    assert found[:5].std() > 0.3


def test_without_latents_sequences_have_no_code(corpus):
    asked, network = recipe("network.latents=0"), network_of("network.latents=0")
    sounds, counts, numbers = batch_of(corpus, network, asked)
    assert network.into.weight.shape == (24, LENGTH)
    terms = network.reconstruction(sounds, counts, numbers, torch.Generator())
    assert terms["code"] == 0
    assert torch.isfinite(network.total(terms))
    codes = network.codes(numbers)
    assert codes.shape == (3, 0)
    seed = network.standard(sounds)[:1, :1].expand(3, -1, -1)
    follow = network.continued(seed, codes, 8)
    assert torch.allclose(follow[0], follow[1], atol=1e-6)  # one frame decides, whatever the recording


def test_checkpoints_of_the_fft_recipe_keep_their_width_and_weights():
    """Runs made before half-complex frames load: names and shapes are those of that version."""
    weights = network_of(name="sequence-fft").state_dict()
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "table": (3, 2),
        "steps": (),
        "standard.mean": (LENGTH + 2,),
        "standard.deviation": (LENGTH + 2,),
        "into.weight": (24, LENGTH + 4),
        "into.bias": (24,),
        **{f"memory.weight_{part}_l{layer}": (96, 24) for part in ("ih", "hh") for layer in (0, 1)},
        **{f"memory.bias_{part}_l{layer}": (96,) for part in ("ih", "hh") for layer in (0, 1)},
        "out.weight": (LENGTH + 2, 24),
        "out.bias": (LENGTH + 2,),
    }


def test_own_frames_come_in_by_a_share_that_grows_and_rest_stays_rest():
    network = network_of("network.own_share=0.5", "network.own_steps=10").train()
    true, codes = delayed(torch.randn(40, 30, LENGTH)), torch.zeros(40, 2)
    with torch.no_grad():
        own = delayed(network.predict(true, codes)[0])
    shares = []
    for step in (0, 5, 10, 1000):
        network.steps.fill_(step)
        fed = network._disturb_inputs(true, codes, torch.Generator().manual_seed(step))
        is_own = (fed == own).all(2)[:, 1:]
        assert torch.equal(fed[:, 1:][~is_own], true[:, 1:][~is_own])
        assert torch.all(fed[:, 0] == 0)
        shares.append(float(is_own.float().mean()))
    assert shares == pytest.approx([0, 0.25, 0.5, 0.5], abs=0.05)


def test_noise_is_added_to_what_is_fed_in_training_alone(corpus):
    asked = recipe("network.noise=0.3")
    network = network_of("network.noise=0.3")
    true, codes = delayed(torch.randn(40, 30, LENGTH)), torch.zeros(40, 2)
    added = network._disturb_inputs(true, codes, torch.Generator().manual_seed(0)) - true
    assert torch.all(added[:, 0] == 0)
    assert float(added[:, 1:].std()) == pytest.approx(0.3, rel=0.02)
    batch = [part.double() if part.is_floating_point() else part for part in batch_of(corpus, network, asked)]
    network.double()  # an untrained network hardly hears what it is fed
    chances = [torch.Generator().manual_seed(seed) for seed in (1, 2, 1, 2)]
    noisy = [network.train().reconstruction(*batch, chance)["mean_square"] for chance in chances[:2]]
    plain = [network.eval().reconstruction(*batch, chance)["mean_square"] for chance in chances[2:]]
    assert abs(float((noisy[0] - noisy[1]).detach())) > 1e-9
    assert plain[0] == plain[1]


@pytest.mark.parametrize("name", ["sequence-samples", "sequence-fft"])
def test_a_few_sounds_are_learned_by_heart_and_follow_from_their_codes(tmp_path, name):
    """Toms and a hat of sixteen frames: from rest and a code the network plays each, and no other."""
    corpus = corpus_of(tmp_path / "corpus", [tom(1, 0.1), tom(2, 0.1), hat(1, 0.1)])
    noisy = "network.noise=0.1"  # what is fed is then near to what was learned, though it comes back a little other
    asked = recipe("training.steps=300", "training.learning_rate=7e-3", "network.size=64", noisy, name=name)
    start(asked, corpus.folder, tmp_path / "run", CPU)
    network, *_ = trained(Run.open(tmp_path / "run"), "best")
    data = FAMILIES["sequence"].data(corpus, asked, tmp_path)
    sounds, counts, numbers = data.batch(np.arange(3), np.random.default_rng(0))
    with torch.no_grad():
        assert float(network.reconstruction(sounds, counts, numbers, torch.Generator())["mean_square"]) < 0.02
    rest = torch.zeros(3, 0, network.standard.width)
    made = network.standard.to_samples(network.continued(rest, network.codes(numbers), sounds.shape[1])).numpy()
    for piece, frames in zip(data.train, made, strict=True):
        sound = corpus.samples(piece.clip)
        given = joined(frames, HOP)[: len(sound)]
        assert np.corrcoef(given, sound)[0, 1] > 0.9
    assert float(network.table.detach().abs().max()) < 3


def test_a_run_goes_on_where_it_stopped_with_its_share_of_own_frames(corpus, tmp_path):
    changes = ["network.own_share=1.0", "network.own_steps=4", "network.noise=0.1"]
    straight, halted = tmp_path / "straight", tmp_path / "halted"
    start(recipe("training.steps=6", "training.schedule=constant", *changes), corpus.folder, straight, CPU)
    start(recipe("training.steps=3", "training.schedule=constant", *changes), corpus.folder, halted, CPU)
    resume(halted, recipe("training.steps=6", "training.schedule=constant", *changes), CPU)
    ours, theirs = (checkpoint.load(folder / "last.ckpt")["model"] for folder in (straight, halted))
    assert float(ours["steps"]) == 6
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_a_preview_has_each_recording_and_what_follows_from_its_first_frame(corpus):
    asked, network = recipe(), network_of()
    sounds = FAMILIES["sequence"].preview(network, asked, list(batch_of(corpus, network, asked)))
    assert [len(sound) // HOP for sound in sounds] == [11, 11, 6, 6, 5, 5]
    assert np.allclose(sounds[2][: 5 * HOP], corpus.samples(corpus.clips()[1]), atol=1e-5)
    assert np.allclose(sounds[3][: HOP // 2], sounds[2][: HOP // 2], atol=1e-5)  # the first frame is given
    assert not np.allclose(sounds[3], sounds[2], atol=0.05)


# ---- what is refused, and said


def test_recipes_hold_the_numbers_of_the_post_and_state_their_differences():
    plain = load_recipe("sequence-samples")
    assert plain.frames.frame_length == 2048
    assert (plain.frames.silence, plain.network.own_share, plain.network.noise) == (1, 0, 0)  # one block after, as GRUV
    assert (plain.network.layers, plain.network.size, plain.training.learning_rate) == (2, 768, 1e-3)
    assert load_recipe("sequence-fft").frames.domain == "real_imag"
    for name, domain in (("sequence-post", "samples"), ("sequence-post-fft", "half_complex")):
        post = load_recipe(name)
        assert (post.frames.domain, post.frames.frame_length, post.frames.hop_length) == (domain, 2048, 2048)
        assert (post.network.size, Standard(post.frames).width) == (2048, 2048)
        assert (post.network.latents, post.loss.first, post.loss.code) == (0, 0, 0)
    assert load_recipe("sequence-scheduled").network.own_share > 0
    assert load_recipe("sequence-noisy").network.noise > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("frames.hop_length=31", "hop_length 31 must be half of frame_length 64 at least"),
        ("frames.domain=magnitude", "frames.domain"),
        ("network.reach=1", "network.reach"),
    ],
)
def test_settings_that_make_no_sequence_are_refused_in_a_line(change, words):
    with pytest.raises(UserError) as error:
        recipe(change)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_too_short_or_silent_is_left_out_and_said(tmp_path):
    sounds = [*noises(4 * HOP, HOP, HOP + 1), np.zeros(9 * HOP, np.float32)]
    corpus = corpus_of(tmp_path / "corpus", sounds)
    assert [piece.name for piece in pieces(corpus, "train", recipe().frames)] == ["clip 0", "clip 2"]
    assert FAMILIES["sequence"].describe(corpus, recipe()) == (
        "2 training sequences of 3 to 5 frames of 64 samples; shorter ones are padded, and the padding does not count; "
        "1 short clip, of less than 2 frames, is left out ('clip 1'); 1 silent clip is left out ('clip 3')"
    )


def test_a_corpus_of_clips_of_one_frame_is_refused_with_what_would_do(tmp_path):
    corpus = corpus_of(tmp_path / "corpus", [*noises(HOP, HOP - 5), np.zeros(500, np.float32)])
    with pytest.raises(UserError, match="has no training clip that sounds and has 2 frames") as error:
        FAMILIES["sequence"].check(corpus, recipe())
    assert "more than 0.006 s" in str(error.value)


def test_a_corpus_at_another_rate_is_refused(tmp_path, timbrel):
    corpus_of(tmp_path / "corpus", noises(900), rate=16000)
    changes = [part for change in SMALL for part in ("--set", change)]
    refused = timbrel("train", "sequence-fft", "--corpus", tmp_path / "corpus", "-o", tmp_path / "run", *changes)
    assert refused.status == 2
    assert "is at 16000 Hz, the recipe wants 8000" in refused.err
    assert not (tmp_path / "run").exists()
