"""From one sound to another: ways against other searches, the note by its latents, the picture by its dots."""

import itertools

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from onnx import helper
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.model.model import Model
from timbrel.host.play.motion_sources import great_circle
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.resynthesis.morph import dense_way, morph
from timbrel.host.resynthesis.picture import LatentPlane, draw_way
from timbrel.host.signal import sounding_note

RATE, LENGTH = 22050, 1024


@pytest.fixture(scope="module")
def save_levels(save_encoder):
    """A function that writes an encoder that says how loud a frame is, and how loud its second half."""
    halves = np.stack([np.ones(LENGTH), np.repeat([0.0, 2.0], LENGTH // 2)], axis=1) / LENGTH
    nodes = [helper.make_node("Abs", ["audio"], ["level"]), helper.make_node("MatMul", ["level", "halves"], ["latent"])]
    return lambda path: save_encoder(path, nodes, {"audio": LENGTH}, 2, {"halves": halves})


def bow(count=40):
    """Training codes on a half circle, from the left of the middle over its top to the right."""
    angles = np.linspace(np.pi, 0, count)
    return np.stack([0.5 + 0.25 * np.cos(angles), 0.2 + 0.3 * np.sin(angles)], axis=1)


@pytest.fixture(scope="module")
def make_model(analytic, save_levels, tmp_path_factory):
    """A function that makes the smallest model with training codes, its encoder beside it."""

    def make(codes=None, **settings):
        made = analytic(**settings)
        codes = bow() if codes is None else codes
        marks = [{"latent": code.tolist(), "chroma": 0, "label": "bow"} for code in np.asarray(codes)]
        path = made.save(tmp_path_factory.mktemp("morph") / "model.onnx", made.card(landmarks=marks))
        save_levels(path)
        return Model(path)

    return make


@pytest.fixture(scope="module")
def sounds(tmp_path_factory, make_tone):
    """Three sounds: two tones whose codes are (0.25, 0.25) and (0.75, 0.75), and nothing that can be used."""
    folder = tmp_path_factory.mktemp("sounds")
    for name, note, level in (("soft", 57, 0.25), ("loud", 64, 0.75)):
        tone = np.sign(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * (np.arange(RATE) + 0.5) / RATE))
        soundfile.write(folder / f"{name}.wav", level * tone, RATE, subtype="FLOAT")
    soundfile.write(folder / "short.wav", np.ones(100) * 0.1, RATE)
    soundfile.write(folder / "silent.wav", np.zeros(9000), RATE)
    soundfile.write(folder / "nan.wav", np.full(9000, np.nan), RATE, subtype="FLOAT")
    return folder


PLACES = st.lists(st.tuples(*[st.floats(-3, 3, allow_subnormal=False)] * 3), min_size=2, max_size=30)


@given(PLACES)
def test_a_dense_way_has_the_least_sum_of_squares(codes):
    codes = np.array(codes)
    way = dense_way(codes)
    assert (way[0], way[-1], len(set(way))) == (0, len(codes) - 1, len(way))
    costs = np.square(codes[:, None] - codes[None]).sum(axis=2)
    least = costs.copy()  # Floyd and Warshall's
    for by in range(len(codes)):
        least = np.minimum(least, least[:, by : by + 1] + least[by : by + 1])
    assert sum(costs[a, b] for a, b in itertools.pairwise(way)) == pytest.approx(least[0, -1], abs=1e-9)


def test_a_dense_way_goes_around_a_gap_where_training_codes_are(make_model):
    codes = np.concatenate([[[0.25, 0.2]], bow(), [[0.75, 0.2]]]) / 0.25
    way = codes[dense_way(codes)] * 0.25
    assert way[:, 1].max() == pytest.approx(0.5, abs=0.01)
    assert np.linalg.norm(way - [0.5, 0.2], axis=1).min() > 0.2


@pytest.fixture
def heard(monkeypatch):
    """The latents that instruments are at, every hundredth of a second, and the keys that they are played."""
    found = {"latents": [], "keys": []}
    hear, read = ChannelInstrument.schedule, ChannelInstrument.read

    def heard(self, events, until):
        found["keys"] += [event.key for event in events if hasattr(event, "velocity")]
        hear(self, events, until)

    def spied(self, count):
        pieces = []
        for start in range(0, count, 441):
            found["latents"].append(self.current_latents())
            pieces.append(read(self, min(441, count - start)))
        return np.concatenate(pieces, axis=1)

    monkeypatch.setattr(ChannelInstrument, "schedule", heard)
    monkeypatch.setattr(ChannelInstrument, "read", spied)
    return found


@pytest.mark.parametrize("way", ["linear", "spherical", "dense"])
def test_the_note_rests_at_both_ends_and_goes_the_way_between(make_model, sounds, tmp_path, heard, way):
    told = morph(sounds / "soft.wav", sounds / "loud.wav", make_model(), tmp_path / "out.wav", way=way, seconds=2.0)
    latents = np.array(heard["latents"])[:200]  # a row for a hundredth of a second
    assert latents[:20] == pytest.approx(np.full((20, 2), 0.25), abs=1e-3)
    assert latents[185:] == pytest.approx(np.full((15, 2), 0.75), abs=1e-3)
    if way == "dense":
        assert "by way of " in told.summary
        assert latents[:, 1].max() == pytest.approx(0.75, abs=1e-3)
        steps = np.linalg.norm(np.diff(latents[21:180], axis=0), axis=1)
        assert steps.max() < 1.05 * steps.mean()  # as fast everywhere, corners cut a little
        distances = np.linalg.norm(latents[:, None] - bow(), axis=2).min(axis=1)
        straight = np.linspace([0.25, 0.25], [0.75, 0.75], 200)
        assert distances.mean() < np.linalg.norm(straight[:, None] - bow(), axis=2).min(axis=1).mean()
    else:
        middle = latents[100]
        spans = [(0.0, 1.0)] * 2
        expected = great_circle([0.25] * 2, [0.75] * 2, 0.5, spans) if way == "spherical" else [0.5, 0.5]
        assert middle == pytest.approx(expected, abs=0.01)
        assert "by way of" not in told.summary
    sound, rate = read_sound(tmp_path / "out.wav")
    assert rate == 44_100
    assert 2.0 < sound.shape[1] / rate < 2.5
    assert np.abs(sound).max() > 0.01


def test_the_key_is_the_first_sounds_note_or_what_is_asked_for_or_middle_c(make_model, sounds, tmp_path, heard):
    output = tmp_path / "out.wav"
    told = morph(sounds / "soft.wav", sounds / "loud.wav", make_model(), output, seconds=1.0)
    assert "1 s on A3, " in told.summary
    morph(sounds / "soft.wav", sounds / "loud.wav", make_model(), output, seconds=1.0, key=50, overwrite=True)
    morph(sounds / "soft.wav", sounds / "loud.wav", make_model(chroma=False), output, seconds=1.0, overwrite=True)
    assert heard["keys"] == [57, 50, 60]


def test_a_sound_and_itself_are_joined_by_standing_still(make_model, sounds, tmp_path, heard):
    for way in ("linear", "dense"):
        morph(sounds / "soft.wav", sounds / "soft.wav", make_model(), tmp_path / "o.wav", way=way, overwrite=True)
    assert len(heard["latents"]) > 100
    assert np.array(heard["latents"]) == pytest.approx(0.25, abs=1e-3)


def test_the_way_from_a_shipped_models_note_to_another_sounds_the_first_ones_pitch(make_tone, tmp_path, timbrel):
    for name, brightness in (("dull", 0.3), ("bright", 0.9)):
        soundfile.write(tmp_path / f"{name}.wav", make_tone(62, 1.0, 44_100, brightness), 44_100)
    arguments = ["morph", tmp_path / "dull.wav", tmp_path / "bright.wav", "--model", "gm-chroma-8"]
    ended = timbrel(*arguments, "-o", tmp_path / "out.wav", "--seconds", 2, "--way", "dense")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"{tmp_path / 'out.wav'}: 2 s on D4, a way of ")
    sound, rate = read_sound(tmp_path / "out.wav")
    for part in np.array_split(sound[0, : 2 * rate], 3):
        assert sounding_note(part, rate) == pytest.approx(62, abs=0.2)


def test_two_latents_are_drawn_as_they_are_and_more_along_their_principal_axes(make_model, tiny):
    assert np.array_equal(LatentPlane(make_model().card).places(bow()), bow())
    rng = np.random.default_rng(2)
    codes = 0.5 + rng.normal(size=(50, 4)) * 0.04 @ rng.normal(size=(4, 4))
    card = make_model(codes, latents=4).card
    places = LatentPlane(card).places(np.array([mark.latent for mark in card.landmarks]))
    variances = np.sort(np.linalg.eigvalsh(np.cov(codes.T / 0.25)))[::-1]
    assert np.var(places, axis=0, ddof=1) == pytest.approx(variances[:2], rel=1e-3)
    assert np.corrcoef(places.T)[0, 1] == pytest.approx(0, abs=1e-6)
    assert f"principal axis 1: {variances[0] / variances.sum():.0%}" in LatentPlane(card).labels[0]
    assert LatentPlane(make_model(np.zeros((3, 1)), latents=1).card).places(np.ones((5, 1))).shape == (5, 2)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, as they are saved."""
    kept = []
    save = Figure.savefig

    def keep(self, *given, **options):
        kept.append(self)
        save(self, *given, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def test_the_picture_shows_the_way_and_both_sounds(make_model, sounds, tmp_path, figures):
    dots, dark = {}, {}
    for way in ("linear", "dense"):
        path = tmp_path / f"{way}.png"
        names = (sounds / "soft.wav", sounds / "loud.wav")
        morph(*names, make_model(), tmp_path / "o.wav", way=way, seconds=0.5, picture=path, overwrite=True)
        dots[way] = imread(path)[:, :, :3]
        dark[way] = dots[way].max(axis=2) < 0.3
        legend = figures[-1].axes[0].get_legend().get_window_extent()
        dark[way][1200 - round(legend.y1) : 1200 - round(legend.y0), round(legend.x0) : round(legend.x1)] = False
        dark[way] = dark[way][100:1080, 120:]
    assert dots["linear"].shape == (1200, 1200, 3)
    rows, columns = np.nonzero(dark["linear"])
    assert np.corrcoef(rows, columns)[0, 1] < -0.8  # a straight line, rising
    assert (dark["dense"] & ~dark["linear"]).sum() > 300
    for colour in ((0.85, 0.51, 0.25), (0.72, 0.26, 0.31)):  # those of the sounds
        assert (np.abs(dots["linear"] - colour).max(axis=2) < 0.05).sum() > 20


@pytest.mark.parametrize("names", [("soft", "loud"), ("W" * 200, "i" * 200), ("$x_1$ " * 20, "b")])
def test_the_heading_of_a_map_fits_and_names_both_sounds(make_model, tmp_path, figures, names):
    codes = [(name, np.full((3, 2), 0.25 + 0.5 * place)) for place, name in enumerate(names)]
    draw_way(
        tmp_path / "map.png", make_model().card, codes, np.linspace([0.2, 0.2], [0.8, 0.8], 50), "linear, 8 s, in m"
    )
    [figure] = figures
    heading, below = figure.texts
    first, second = heading.get_text().split(" to ")
    for name, shown in zip(names, (first, second), strict=True):
        assert shown == name or (name.startswith(shown.split("…")[0]) and name.endswith(shown.split("…")[1]))
    assert below.get_text() == "linear, 8 s, in m"
    assert all(text.get_window_extent().x1 <= figure.bbox.width for text in (heading, below))
    legend = figure.axes[0].get_legend()
    assert legend.get_window_extent().width < figure.axes[0].bbox.width


def test_a_map_names_its_dots_each_sound_once_and_no_name_over_another(tmp_path, figures, analytic, save_levels):
    rng = np.random.default_rng(3)
    marks = [
        {"latent": rng.uniform(0, 1, 2).tolist(), "chroma": 0, "label": f"sound {number % 60}"} for number in range(240)
    ]
    made = analytic()
    card = Model(made.save(tmp_path / "model.onnx", made.card(landmarks=marks))).card
    line = np.linspace([0.2, 0.2], [0.8, 0.8], 50)
    draw_way(tmp_path / "map.png", card, [("a", line[:3]), ("b", line[-3:])], line, "linear")
    [figure] = figures
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.texts]
    assert len(names) == len(set(names)) > 20
    boxes = [text.get_window_extent() for text in axes.texts] + [axes.get_legend().get_window_extent()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    for text in axes.texts:  # each beside a dot of its name
        own = [mark["latent"] for mark in marks if mark["label"] == text.get_text()]
        assert any(np.allclose(text.xy, place) for place in own)
    assert "the way, larger as time goes by" in [text.get_text() for text in axes.get_legend().get_texts()]


WRONG = {
    "soft.wav gone.wav": "cannot read gone.wav: there is no such file",
    "short.wav loud.wav": "short.wav lasts 0.00454 s, and a frame of model 'analytic' 0.0464 s; give a longer sound",
    "soft.wav silent.wav": "silent.wav is silent",
    "nan.wav loud.wav": "nan.wav: it holds samples that are not finite",
    "soft.wav loud.wav --model alone.onnx": "alone.onnx has no encoder",
    "soft.wav loud.wav --way round": "'--way'",
    "soft.wav loud.wav --seconds 0": "'--seconds'",
    "soft.wav loud.wav --key 128": "'--key'",
    "soft.wav loud.wav --picture map.jpg": "cannot draw map.jpg: give a name ending in .png",
    "soft.wav loud.wav --way dense --model bare.onnx": "--way dense goes through training codes, and the card of model",
    "soft.wav loud.wav -o kept.wav": "kept.wav exists; give another name, or --overwrite",
    "soft.wav loud.wav -o new.mp3": "its suffix '.mp3' names no format",
    "soft.wav": "Missing argument 'second'",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_morphed_is_refused_in_a_line_and_nothing_is_written(
    analytic, make_model, save_levels, sounds, timbrel, tmp_path, monkeypatch, line
):
    model = make_model()
    for path in sounds.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "kept.wav").write_text("kept")
    for name in ("model", "bare"):
        (tmp_path / f"{name}.onnx").write_bytes(model.path.read_bytes())
        save_levels(tmp_path / f"{name}.onnx")
    analytic().save(tmp_path / "alone.onnx")
    analytic().save(tmp_path / "bare.onnx", analytic().card(landmarks=[]))
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = line.split()
    words += [] if "-o" in words else ["-o", "new.wav"]
    words += [] if "--model" in words else ["--model", "model.onnx"]
    ended = timbrel("morph", *words)
    assert (ended.status, ended.out) == (2, ""), ended
    [said] = ended.err.splitlines()
    assert WRONG[line] in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
