"""An evaluation's figures are those that other hands compute, and its report stands whole or not at all."""

import itertools
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import scipy.signal
import scipy.stats
import soundfile
import torch
from timbrel.export import evaluate
from timbrel.export.measures import frames as measures
from timbrel.export.measures import keys, sample
from timbrel.export.reports import chroma as chroma_report
from timbrel.export.reports import picture
from timbrel.host import files
from timbrel.host.errors import Failure, UserError
from timbrel.host.pitch import sounding_note
from timbrel.host.units import PITCH_CLASSES, midi_to_hz
from timbrel.train import checkpoint, families
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.frames import moved_frame, sources
from timbrel.train.models.chroma import ChromaAutoencoder
from timbrel.train.recipe import ChromaFrames, load_recipe
from timbrel.train.run import FORMAT, Run, RunInfo, relative_to

RATE, FRAME, HOP = 8000, 1024, 256  # bins of 7.8 Hz: from C4 up, two to a semitone
SETTINGS = ChromaFrames(sample_rate=RATE, frame_length=FRAME, hop_length=HOP, octave=4, views=6, rows=5000)
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={FRAME}",
    f"frames.hop_length={HOP}",
    "network.hidden=[64,32,16]",
]


def tone(note, brightness, seconds=0.5):
    hz, time = midi_to_hz(note), np.arange(round(seconds * RATE)) / RATE
    orders = range(1, int(0.48 * RATE / hz) + 1)
    return 0.3 * sum(brightness**k * np.sin(2 * np.pi * k * hz * time + k * k) for k in orders).astype(np.float32)


def write_corpus(folder, clips, name="tones", silent=False):
    """A corpus of (split, note, brightness); a note of None is noise without pitch."""
    with writing(folder, RATE) as writer:
        for i, (_, note, brightness) in enumerate(clips):
            noise = np.random.default_rng(i).standard_normal(4000).astype(np.float32)
            sound = 0.1 * noise if note is None else tone(note, brightness)
            track = np.full(-(-len(sound) // 1024), np.nan if note is None else note, np.float32)
            writer.append(0 * sound if silent else sound, track, name=f"{i}.wav", group=str(i), label=f"b{brightness}")
        writer.finish({f"{i}.wav": clip[0] for i, clip in enumerate(clips)}, name=name)
    return folder


def octave(*splits):
    """A chromatic octave a split, each of another brightness."""
    return [(split, note, 0.3 + 0.15 * i) for i, split in enumerate(splits) for note in range(60, 72)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tones", octave("train", "train", "val", "test"))


def make_run(folder, corpus_folder, recipe="tuned-2", *changes, best=True, tonal=True):
    """A run that was never trained: its network is what the seed gives."""
    opened = Corpus.open(corpus_folder)
    info = RunInfo(
        format=FORMAT,
        corpus=relative_to(corpus_folder, folder),
        corpus_name=opened.name,
        clips=len(opened.clips()),
        seconds=opened.seconds(),
        tonal=tonal,
        versions={},
        hardware="none",
    )
    run = Run.create(folder, load_recipe(recipe, [*SMALL, *changes]), info)
    torch.manual_seed(0)
    network = families.FAMILIES["chroma"].network(run.recipe)
    optimizers = {"shared": torch.optim.Adam(network.parameters())}
    for path in [run.last, run.best][: 1 + best]:
        checkpoint.save(path, network, optimizers, checkpoint.Progress(step=7 if path == run.best else 9))
    for step in (3, 7):
        terms = dict.fromkeys(("mean_square", "squares", "root_squares", "consistency", "uniformity"), 1.0 / step)
        run.log({"step": step, **terms, "divergence": 0.2, "total": 2.0 / step})
    return run


@pytest.fixture
def tuned(tmp_path, corpus):
    return make_run(tmp_path / "run", corpus)


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    """Few codes, and one thread: networks as small as these wait for a second one longer than they compute."""
    monkeypatch.setattr(chroma_report, "MESH_POINTS", 64)
    monkeypatch.setattr(chroma_report, "KEY_CODES", 24)
    monkeypatch.setattr(chroma_report, "HEARD_CODES", 2)
    monkeypatch.setattr(chroma_report, "PICTURED_FRAMES", 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(picture.Picture, "save", lambda self, folder: None)


def measured(run, **options):
    return evaluate.evaluate(run, **options)


class Perfect(ChromaAutoencoder):
    """Remembers the frames that it encodes and finds them again by their code; deaf to chroma."""

    table: list

    def encode(self, frames, chroma):
        first = len(self.__dict__.setdefault("table", []))
        self.table.extend(frames)
        places = torch.arange(first, first + len(frames), dtype=torch.float32)
        return torch.stack([places / 1e4, places % 7], 1)

    def decode(self, latents, chroma):
        places = (latents[:, 0] * 1e4).round().long().clamp(0, len(self.table) - 1)
        return torch.stack([self.table[int(i)] for i in places])


class Constant(ChromaAutoencoder):
    """Gives every sound one code and answers every code with one spectrum."""

    def encode(self, frames, chroma):
        return torch.full((len(frames), 2), 0.5)

    def decode(self, latents, chroma):
        return torch.linspace(1, 0, FRAME // 2 + 1).repeat(len(latents), 1)


class Organ:
    """A decoder that sounds the chroma's key, in the octave of ``lowest``."""

    conditioned = True

    def __init__(self, lowest):
        self.lowest = lowest

    def decode(self, latents, chroma):
        hz = np.fft.rfftfreq(FRAME, 1 / RATE)
        rows = []
        for pitch_class in chroma.argmax(1).tolist():
            note = midi_to_hz(self.lowest + pitch_class)
            partials = [0.6**k * np.exp(-np.square((hz - k * note) / 8)) for k in range(1, 8)]
            rows.append(np.sum(partials, axis=0).astype(np.float32))
        return torch.from_numpy(np.stack(rows))


class Stuck:
    """A decoder that gives one frame whatever the key."""

    def __init__(self, frame):
        self.frame = torch.from_numpy(frame.astype(np.float32))

    def decode(self, latents, chroma):
        return self.frame.repeat(len(latents), 1)


# ---- drawing frames


def test_drawn_frames_are_scipys_and_no_frame_is_drawn_twice(corpus):
    opened = Corpus.open(corpus)
    drawn = sample.draw(opened, "test", SETTINGS, False, 40, np.random.default_rng(0))
    assert len(drawn) == 40
    assert len({(s.clip.name, s.start) for s in drawn.sources}) == 40
    assert drawn.found == len(list(sources(opened, "test", SETTINGS, tonal=False)))
    for source, spectrum, pitch_class in zip(drawn.sources, drawn.spectra, drawn.pitch_classes, strict=True):
        piece = opened.samples(source.clip)[source.start : source.start + FRAME]
        magnitude = np.abs(scipy.signal.stft(piece, nperseg=FRAME, boundary=None, padded=False)[2][:, 0])
        assert spectrum == pytest.approx(magnitude / magnitude.max(), abs=1e-5)
        assert pitch_class == strongest_class(spectrum)


def test_folded_frames_are_on_their_own_keys_in_the_octave(tmp_path):
    folder = write_corpus(tmp_path / "high", [("train", note, 0.5) for note in (50, 74, 79)])
    drawn = sample.draw(Corpus.open(folder), "train", SETTINGS, True, 100, np.random.default_rng(0))
    for source, spectrum, key in zip(drawn.sources, drawn.spectra, drawn.pitch_classes, strict=True):
        assert key == round(source.note) % 12
        assert spectrum.argmax() == pytest.approx(midi_to_hz(60 + key) * FRAME / RATE, abs=0.51)


def test_clips_are_numbered_alike_for_frames_of_one_clip(corpus):
    drawn = sample.draw(Corpus.open(corpus), "test", SETTINGS, False, 60, np.random.default_rng(0))
    names = [source.clip.name for source in drawn.sources]
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        assert (drawn.clips[i] == drawn.clips[j]) == (a == b)


# ---- keys


@pytest.mark.parametrize(("latents", "points", "side"), [(1, 50, 50), (2, 4096, 64), (2, 60, 8), (3, 4096, 16)])
def test_a_mesh_of_up_to_three_latents_is_regular_and_reaches_its_ends(latents, points, side):
    low, high = np.arange(latents) - 1.0, np.arange(latents) + 2.0
    axes = [np.linspace(a, b, side) for a, b in zip(low, high, strict=True)]
    wanted = np.array(list(itertools.product(*axes)))
    assert keys.mesh(low, high, points, np.random.default_rng(0)) == pytest.approx(wanted, abs=1e-6)


def test_above_three_latents_the_mesh_is_uniform_in_the_box():
    low, high = np.array([0.0, -1, 2, 5]), np.array([1.0, 1, 2.5, 9])
    codes = keys.mesh(low, high, 2000, np.random.default_rng(0))
    assert codes.shape == (2000, 4)
    assert np.all((codes >= low) & (codes <= high))
    for i in range(4):
        assert scipy.stats.kstest(codes[:, i], "uniform", (low[i], high[i] - low[i])).pvalue > 1e-3


@pytest.mark.parametrize(("lowest", "octaves_right"), [(60, 1.0), (72, 0.0)])
def test_a_decoder_that_sounds_its_key_is_right_by_ear_and_its_octave_only_where_it_is_the_asked_one(
    lowest, octaves_right
):
    codes = np.zeros((2, 2), np.float32)
    heard = keys.sounding(Organ(lowest), codes, [0, 4, 11], SETTINGS, True)
    assert heard == {"notes": 6, "pitch_class": 1.0, "octave": octaves_right}
    assert keys.sounding(Organ(lowest), codes, [0, 4], SETTINGS, False)["octave"] is None
    answers = {k: keys.strongest(Organ(60), codes, k, SETTINGS) for k in (0, 4, 11)}
    found = keys.obedience(answers)
    assert found["overall"] == 1
    assert found["by_pitch_class"] == {**dict.fromkeys(PITCH_CLASSES), "C": 1.0, "E": 1.0, "B": 1.0}


def test_a_decoder_stuck_on_one_note_is_right_for_that_key_alone():
    frame = Organ(60).decode(None, torch.eye(12)[[5]])[0].numpy()
    codes = np.zeros((3, 2), np.float32)
    found = keys.obedience({k: keys.strongest(Stuck(frame), codes, k, SETTINGS) for k in range(12)})
    assert found["by_pitch_class"] == {name: float(name == "F") for name in PITCH_CLASSES}
    assert found["overall"] == pytest.approx(1 / 12)
    assert keys.sounding(Stuck(frame), codes, list(range(12)), SETTINGS, True)["pitch_class"] == pytest.approx(1 / 12)


def test_silence_is_no_key_not_even_the_first():
    silence = Stuck(np.zeros(FRAME // 2 + 1))
    codes = np.zeros((2, 2), np.float32)
    assert keys.obedience({0: keys.strongest(silence, codes, 0, SETTINGS)})["overall"] == 0
    assert keys.sounding(silence, codes, [0], SETTINGS, True) == {"notes": 2, "pitch_class": 0, "octave": 0}


def test_only_pitch_classes_heard_in_training_are_asked_for():
    scale = np.repeat([0, 2, 4, 5, 7, 9, 11], 100)
    stray = np.append(scale, [1])
    one_octave = SETTINGS.model_copy(update={"views": 1})
    assert keys.trained(stray, one_octave, True) == [0, 2, 4, 5, 7, 9, 11]
    assert keys.trained(stray, SETTINGS, True) == list(range(12))


def test_a_held_frame_has_the_spectrum_of_the_frame():
    frame = Organ(60).decode(None, torch.eye(12)[[7]])[0].numpy()
    sound = keys.held(frame, keys.NoisePhase(FRAME, HOP), SETTINGS)
    assert len(sound) / RATE == pytest.approx(keys.SECONDS, abs=3 * FRAME / RATE)
    hz, power = scipy.signal.welch(sound, RATE, nperseg=FRAME)
    partials = [np.abs(hz - k * midi_to_hz(67)) < 30 for k in range(1, 8)]
    assert power[np.any(partials, axis=0)].sum() > 0.99 * power.sum()
    levels = [10 * np.log10(power[near].sum() / np.square(frame[near]).sum()) for near in partials[:4]]
    assert np.ptp(levels) < 3  # noise phase lets levels sway by so much in a second


# ---- whole evaluations


@pytest.mark.usefixtures("no_pictures")
def test_a_constant_network_has_the_errors_that_numpy_finds_and_no_playable_knob(tuned, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Constant))
    found = measured(tuned)
    answer = np.linspace(1, 0, FRAME // 2 + 1)
    opened = tuned.corpus()
    asked = np.stack(  # the notes lie in the octave: their own keys are where they are
        [
            moved_frame(opened.samples(s.clip), s, s.note, SETTINGS)
            for s in sources(opened, "test", SETTINGS, tonal=True)
        ]
    )
    error = np.square(asked - answer).sum()
    same = found["reconstruction"]["same_key"]
    assert found["frames"] == found["frames_in_split"] == len(asked)
    assert same["mean_square"]["value"] == pytest.approx(error / asked.size, rel=1e-4)
    ratio = error / np.square(asked).sum()
    assert same["spectral_convergence_db"]["value"] == pytest.approx(10 * np.log10(ratio), abs=1e-3)
    assert found["latents"]["largest_correlation"] == 0
    assert all(dimension["dead"] for dimension in found["latents"]["dimensions"])
    assert found["verdict"].startswith("This model cannot be played")


@pytest.mark.usefixtures("no_pictures")
def test_answering_with_the_mean_of_the_pitch_class_is_a_relative_error_of_one(tmp_path, corpus, monkeypatch):
    run = make_run(tmp_path / "run", corpus, "chroma-2")
    settings, opened = run.recipe.frames, run.corpus()
    train = sample.draw(opened, "train", settings, False, 10**6, np.random.default_rng(0))
    means = torch.stack(
        [torch.from_numpy(train.spectra[train.pitch_classes == k].mean(0)) for k in range(12)]
    )  # every class is there: the corpus is chromatic

    class Mean(ChromaAutoencoder):
        def decode(self, latents, chroma):
            return chroma @ means

    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Mean))
    found = measured(run)
    assert found["reconstruction"]["same_key"]["relative_error"]["value"] == pytest.approx(1, rel=1e-4)
    assert "another_key" not in found["reconstruction"]


@pytest.mark.usefixtures("no_pictures")
def test_a_perfect_network_is_perfect_and_one_that_is_deaf_to_keys_obeys_by_chance(tmp_path, corpus, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Perfect))
    run = make_run(tmp_path / "run", corpus, "chroma-2")
    found = measured(run)
    same = found["reconstruction"]["same_key"]
    assert same["mean_square"]["value"] == same["relative_error"]["value"] == 0
    assert same["spectral_convergence_db"]["mean"] == measures.PERFECT_DB
    assert found["keys"]["training_codes"]["strongest"]["overall"] == pytest.approx(1 / 12)
    assert found["keys"]["training_codes"]["sounding"]["octave"] is None
    assert found["verdict"].startswith("Keys are not obeyed")


@pytest.mark.usefixtures("no_pictures")
def test_a_network_that_keeps_the_sound_but_not_the_key_errs_on_another_key_alone(tuned, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Perfect))
    both = measured(tuned)["reconstruction"]
    assert both["same_key"]["relative_error"]["value"] == 0
    assert both["another_key"]["relative_error"]["value"] > 1


@pytest.mark.usefixtures("no_pictures")
def test_a_network_that_gives_the_sound_on_the_asked_key_is_right_on_its_own_and_on_another_key(tuned, monkeypatch):
    opened = tuned.corpus()
    by_key = {round(s.note) % 12: s for s in sources(opened, "test", SETTINGS, tonal=True)}  # all of one brightness
    answers = [moved_frame(opened.samples(by_key[k].clip), by_key[k], 60 + k, SETTINGS) for k in range(12)]

    class Transposer(ChromaAutoencoder):
        def decode(self, latents, chroma):
            return chroma @ torch.from_numpy(np.stack(answers))

    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Transposer))
    found = measured(tuned)["reconstruction"]
    assert found["same_key"]["spectral_convergence_db"]["value"] < -30
    assert found["another_key"]["spectral_convergence_db"]["value"] < -10  # moving takes partials past half the rate


@pytest.mark.usefixtures("no_pictures")
def test_a_trained_run_is_nearer_than_before_it_was_trained(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "run")
    info = json.loads((folder / "run.json").read_text())
    info["corpus"] = relative_to((small_run / info["corpus"]).resolve(), folder)
    (folder / "run.json").write_text(json.dumps(info))
    run = Run.open(folder)
    after = measured(run)
    network = ChromaAutoencoder(run.recipe)
    checkpoint.save(run.best, network, {"shared": torch.optim.Adam(network.parameters())}, checkpoint.Progress())
    before = measured(run)
    for key in ("same_key", "another_key"):
        errors = [found["reconstruction"][key]["mean_square"]["value"] for found in (after, before)]
        assert errors[0] < errors[1]
    assert after["loss"]["steps"] == [line["step"] for line in run.logged()]
    terms = after["loss"]["terms"]
    parts = [values for name, values in terms.items() if name != "total"]
    assert np.sum(parts, axis=0) == pytest.approx(terms["total"], rel=1e-5)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("splits", "used", "words"),
    [
        (("train", "val", "test"), "test", "the test split"),
        (("train", "val"), "val", "has no test split"),
        (("train",), "train", "has no other"),
    ],
)
def test_an_empty_split_is_replaced_by_the_next_and_the_page_says_so(tmp_path, splits, used, words):
    run = make_run(tmp_path / "run", write_corpus(tmp_path / "corpus", octave(*splits)))
    found = measured(run)
    assert (found["split"], found["clips"]) == (used, 12)
    assert words in (run.folder / "report" / "index.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_recordings_without_pitch_are_said_to_have_none_and_no_note_is_listened_for(tmp_path):
    folder = write_corpus(tmp_path / "noise", [(split, None, i) for i in range(4) for split in ("train", "test")])
    found = measured(make_run(tmp_path / "run", folder, "tuned-2", tonal=False))
    assert found["verdict"].startswith("The recordings have no clear pitch: keys choose colour, not pitch.")
    assert found["keys"]["mesh"]["sounding"] is None
    assert "another_key" not in found["reconstruction"]
    assert "not asked without clear pitch" in (tmp_path / "run" / "report" / "index.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_a_network_without_skip_is_said_to_have_no_keys(tmp_path, corpus):
    run = make_run(tmp_path / "run", corpus, "chroma-2-noskip")
    found = measured(run)
    assert found["keys"] is None
    assert found["verdict"].startswith("Keys do nothing here")
    assert "nothing to ask for" in (run.folder / "report" / "index.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_the_checkpoint_asked_for_is_used_and_the_last_where_there_is_no_best(tmp_path, corpus):
    both = make_run(tmp_path / "both", corpus)
    for name, step in (("best", 7), ("last", 9)):
        found = measured(both, checkpoint=name)["run"]
        assert (found["checkpoint"], found["step"]) == (name, step)
    dead = make_run(tmp_path / "dead", corpus, best=False)
    assert measured(dead)["run"]["checkpoint"] == "last"


@pytest.mark.usefixtures("no_pictures")
def test_progress_rises_from_nothing_to_all(tuned):
    told = []
    measured(tuned, progress=lambda share, what: told.append((share, what)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert all(what for _, what in told)


# ---- the report


class Links(HTMLParser):
    """What a page refers to, and what it says."""

    def __init__(self, text):
        super().__init__()
        self.files, self.words, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.files += [value for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def assert_again_the_same(run, found):
    before = {path.name: path.read_bytes() for path in (run.folder / "report").iterdir()}
    assert measured(Run.open(run.folder)) == found == json.loads(before["report.json"])
    assert {path.name: path.read_bytes() for path in (run.folder / "report").iterdir()} == before


@pytest.mark.parametrize(
    ("recipe", "changes", "shown"),
    [
        ("tuned-2", [], {"square", "embedding", "correlation"}),
        ("chroma-2", ["network.latents=1"], set()),
    ],
)
def test_a_page_shows_the_pictures_beside_it_on_light_and_dark_screens_and_twice_the_same(
    tmp_path, corpus, monkeypatch, recipe, changes, shown
):
    monkeypatch.setattr(picture, "DPI", 40)
    monkeypatch.setattr(chroma_report, "TRAINING_FRAMES", 60)  # so that chance chooses
    monkeypatch.setattr(chroma_report, "TEST_FRAMES", 30)
    run = make_run(tmp_path / "run", corpus, recipe, *changes)
    found = measured(run)
    report = run.folder / "report"
    if recipe == "chroma-2":
        assert_again_the_same(run, found)
    links = Links((report / "index.html").read_text(encoding="utf-8"))
    names = {"reconstructions", "spectrogram", "keys", "histograms", "loss"} | shown
    drawn = {f"{name}{theme}.png" for name in names for theme in ("", "-dark")}
    heard = ["source.wav", "remade.wav"]
    assert links.files[:3] == ["report.json", *heard]  # before all pictures
    assert set(links.files) == drawn | {"report.json", *heard}
    assert {path.name for path in report.iterdir()} == drawn | {"report.json", "index.html", *heard}
    assert not links.open
    assert found["verdict"] in links.words
    for name in names:
        light, dark = (matplotlib.image.imread(report / f"{name}{theme}.png") for theme in ("", "-dark"))
        assert light.shape == dark.shape
        assert light[0, 0, :3].min() > 0.9 > 0.2 > dark[0, 0, :3].max()
        assert light.std() > 0.02


@pytest.mark.usefixtures("no_pictures")
def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path):
    folder = write_corpus(tmp_path / "corpus", octave("train"), name='<b>"Tom & Jerry"</b>')
    run = make_run(tmp_path / "run", folder)
    measured(run)
    text = (run.folder / "report" / "index.html").read_text()
    assert "<b>" not in text
    assert '<b>"Tom & Jerry"</b>' in Links(text).words


@pytest.mark.usefixtures("no_pictures")
def test_a_new_report_replaces_all_of_the_old(tuned):
    old = tuned.folder / "report"
    old.mkdir()
    (old / "stray.png").touch()
    measured(tuned)
    assert sorted(path.name for path in old.iterdir()) == ["index.html", "remade.wav", "report.json", "source.wav"]
    assert not [path for path in tuned.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(28, "No space left on device"), Failure), (RuntimeError("a bug"), RuntimeError)],
)
def test_an_old_report_survives_a_failure_and_nothing_else_is_left(tuned, monkeypatch, error, told):
    old = tuned.folder / "report"
    old.mkdir()
    (old / "index.html").write_text("the old one")

    def fail(self, folder):
        raise error

    monkeypatch.setattr(picture.Picture, "save", fail)
    before = sorted(path.name for path in tuned.folder.iterdir())
    with pytest.raises(told, match=r"No space left on device; what was there is kept|a bug"):
        measured(tuned)
    assert sorted(path.name for path in tuned.folder.iterdir()) == before
    assert (old / "index.html").read_text() == "the old one"


@pytest.mark.usefixtures("no_pictures")
def test_an_old_report_survives_when_the_new_one_cannot_take_its_place(tuned, monkeypatch):
    old = tuned.folder / "report"
    old.mkdir()
    (old / "index.html").write_text("the old one")
    rename = type(old).rename

    def refuse(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(type(old), "rename", refuse)
    with pytest.raises(Failure, match="Input/output error"):
        measured(tuned)
    assert (old / "index.html").read_text() == "the old one"


# ---- what cannot be evaluated


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_without_checkpoint_is_refused(tuned):
    tuned.best.unlink()
    tuned.last.unlink()
    with pytest.raises(UserError) as error:
        measured(tuned)
    assert "has no checkpoint" in one_line(error)


def test_a_corpus_that_was_moved_away_is_named(tmp_path):
    folder = write_corpus(tmp_path / "corpus", octave("train"))
    run = make_run(tmp_path / "run", folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError) as error:
        measured(run)
    assert f"corpus {folder} does not exist" in one_line(error)


def test_a_corpus_that_fell_silent_is_refused(tmp_path):
    folder = write_corpus(tmp_path / "corpus", octave("train"), silent=True)
    run = make_run(tmp_path / "run", folder)
    with pytest.raises(UserError) as error:
        measured(run)
    assert "no training frame that sounds" in one_line(error)


def test_a_folder_that_cannot_be_written_is_refused(tuned, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    with pytest.raises(UserError) as error:
        measured(tuned)
    assert f"cannot write {tuned.folder / 'report'}: Permission denied" in one_line(error)


class Faithful(ChromaAutoencoder):
    """Gives each frame again that it has just been given, times ``tilt`` [bins]."""

    tilt = 1.0

    def encode(self, frames, chroma):
        self.__dict__["kept"] = frames
        return frames[:, :1]

    def decode(self, latents, chroma):
        return self.kept * self.tilt


@pytest.mark.parametrize(
    ("note", "folded"), [(38, True), (48, True), (60, True), (67.5, True), (79, True), (66, False)]
)
def test_what_is_heard_of_a_perfect_model_is_the_source_on_its_own_pitch_and_level(tmp_path, note, folded):
    opened = Corpus.open(write_corpus(tmp_path / "corpus", [("train", note, 0.6), ("train", None, 1.0)]))
    network = Faithful(load_recipe("tuned-2", SMALL))
    asked, given = sample.resynthesised(opened, opened.clips()[0], network, SETTINGS, folded, 5.0)
    assert len(asked) == len(given) == RATE // 2
    inner = slice(FRAME, -FRAME)
    assert sounding_note(given[inner], RATE) == pytest.approx(note, abs=0.1)
    assert given[inner] == pytest.approx(
        asked[inner], abs=0.02 * float(np.abs(asked).max())
    )  # what is past half the rate
    assert len(sample.resynthesised(opened, opened.clips()[0], network, SETTINGS, folded, 0.1)[1]) == RATE // 10
    _, left_out = sample.resynthesised(opened, opened.clips()[1], network, SETTINGS, folded, 5.0)
    assert np.any(left_out) != folded  # noise has no pitch


def test_what_a_model_does_to_a_partial_is_heard_at_the_sources_own_pitch(tmp_path):
    """A note an octave below the trained one: what is halved at 500 Hz and above is halved from 250 Hz on."""
    opened = Corpus.open(write_corpus(tmp_path / "corpus", [("train", 48, 0.9)]))
    network = Faithful(load_recipe("tuned-2", SMALL))
    network.tilt = torch.where(torch.arange(FRAME // 2 + 1) < 500 * FRAME / RATE, 1.0, 0.5)
    asked, given = sample.resynthesised(opened, opened.clips()[0], network, SETTINGS, True, 5.0)
    spectra = [
        np.abs(np.fft.rfft(sound[FRAME:-FRAME] * np.hanning(len(sound) - 2 * FRAME))) for sound in (asked, given)
    ]
    places = np.round(midi_to_hz(48) * np.arange(1, 10) * (len(asked) - 2 * FRAME) / RATE).astype(int)
    change = spectra[1][places] / spectra[0][places]
    assert change == pytest.approx([1.0] + [0.5] * 8, abs=0.06)


@pytest.mark.usefixtures("no_pictures")
def test_the_two_sounds_of_a_report_are_at_one_gain_and_none_clips(tmp_path, monkeypatch):
    folder = write_corpus(tmp_path / "corpus", octave("train"))
    monkeypatch.setattr(
        chroma_report, "resynthesised", lambda *_: (np.float32([0.5, -0.25] * 50), np.float32([4.0, -2.0] * 50))
    )
    run = make_run(tmp_path / "run", folder)
    found = measured(run)
    source, remade = (soundfile.read(run.folder / "report" / name)[0] for name in found["sounds"])
    assert np.abs(remade).max() == pytest.approx(0.98, abs=1e-6)
    assert source == pytest.approx(remade / 8, abs=1e-6)


@pytest.mark.usefixtures("no_pictures")
def test_the_divergence_is_that_of_torchs_own_distributions(tmp_path, corpus):
    run = make_run(tmp_path / "run", corpus, "chroma-8-vae")
    found = measured(run)["latents"]
    assert len(found["dimensions"]) == 8
    network = ChromaAutoencoder(run.recipe)
    network.load_state_dict(checkpoint.load(run.best)["model"])
    opened = run.corpus()
    frames = [
        moved_frame(opened.samples(s.clip), s, s.note, run.recipe.frames)
        for s in sources(opened, "train", run.recipe.frames, tonal=False)
    ]
    chroma = np.eye(12, dtype=np.float32)[[strongest_class(frame) for frame in frames]]
    with torch.no_grad():
        mean, log_variance = network.distribution(torch.from_numpy(np.stack(frames)), torch.from_numpy(chroma))
        normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        wanted = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean(0)
    assert [d["divergence"] for d in found["dimensions"]] == pytest.approx(wanted.tolist(), rel=1e-4, abs=1e-6)
    assert [d["mean"] for d in found["dimensions"]] == pytest.approx(mean.mean(0).tolist(), rel=1e-3, abs=1e-6)


def strongest_class(frame):
    """By hand: energy of all bins nearest to each note from A0 to C8."""
    notes = 69 + 12 * np.log2(np.fft.rfftfreq(FRAME, 1 / RATE)[1:] / 440)
    energy = [np.square(frame[1:][np.abs(notes - note) < 0.5]).sum() for note in range(21, 109)]
    return int(np.argmax([sum(energy[(k - 21) % 12 :: 12]) for k in range(12)]))


@pytest.mark.usefixtures("no_pictures")
def test_a_page_says_what_its_report_lacks(tmp_path):
    folder = write_corpus(tmp_path / "corpus", [("train", note, 0.5) for note in range(36, 48)])
    run = make_run(tmp_path / "run", folder)
    found = measured(run)
    text = Links((run.folder / "report" / "index.html").read_text(encoding="utf-8")).words
    assert any("moved 2 octaves up" in line for line in found["shortcomings"])
    assert any("learned nothing" in line for line in found["shortcomings"])  # it was never trained
    assert all(line in text for line in found["shortcomings"])


@pytest.mark.filterwarnings("error")
def test_a_dead_network_is_drawn_too(tuned, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Constant))
    measured(tuned)
    names = {path.stem for path in (tuned.folder / "report").glob("*.png")}
    assert {"embedding", "histograms", "correlation"} <= names
    assert "square" not in names
