"""Floors are answers that need no training; these tests compute their figures by other means."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from timbrel.export.measures import floors as floors_module
from timbrel.export.measures.clips import commonest_share, decoded_scales, random_scales, scaled
from timbrel.export.measures.continuations import PairMeasure, continuation_floors
from timbrel.export.measures.floors import (
    Scale,
    SoundSet,
    compare_row,
    energies,
    energy_ratio_db,
    floors,
    jackknife_deviation,
    mean_error,
    set_scale,
    squared_errors,
)
from timbrel.export.measures.frames import FrameSample, frame_floors, mean_spectra, reconstruction, spectrum_db
from timbrel.export.reports.floor_tables import (
    FLOORS,
    above_floor,
    answers_table,
    floor_sentences,
    floors_table,
    floors_text,
)
from timbrel.export.reports.measure import Sentence
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel
from timbrel.train.corpus.clip_table import Clip
from timbrel.train.frames import FrameOrigin
from timbrel.train.metrics.clips import frechet, silent_shares

ERROR = Scale("Error, dB", ".2f", np.asarray, squared_errors, mean_error)


def drawn(count, width, seed, clips=None, **more):
    """Sounds of a few directions, so that components differ."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(7).standard_normal((4, width)) * np.array([4, 2, 1, 0.5])[:, None]
    sounds = rng.standard_normal((count, 4)) @ directions + 0.1 * rng.standard_normal((count, width)) + 0.5
    return SoundSet(sounds.astype(np.float32), np.arange(count) if clips is None else clips, **more)


def measured(training, test, scale=ERROR, numbers=2, decoded=None, **more):
    return floors({"error": scale}, training, test, numbers, decoded, **more)["error"]


@pytest.mark.parametrize(("count", "width"), [(60, 12), (9, 40), (5, 1)])
def test_floors_and_references_are_those_of_other_programs(count, width):
    training, test = drawn(count, width, 0), drawn(7, width, 1, clips=100 + np.arange(7))
    found = measured(training, test)
    x, y = training.sounds.astype(np.float64), test.sounds.astype(np.float64)
    wanted = {
        "silence": np.mean(y**2),
        "mean": np.mean((y - x.mean(0)) ** 2),
    }
    for name, value in wanted.items():
        assert found["floors"][name] == pytest.approx(value, rel=1e-5)
    indices = NearestNeighbors(n_neighbors=1).fit(x).kneighbors(y, return_distance=False)[:, 0]
    assert found["references"]["nearest"] == pytest.approx(np.mean((y - x[indices]) ** 2), rel=1e-5)
    pca = PCA(min(2, width), svd_solver="full").fit(x)
    back = pca.inverse_transform(pca.transform(y))
    assert found["references"]["components"] == pytest.approx(np.mean((y - back) ** 2), rel=1e-4, abs=1e-9)
    assert set(found["floors"]) == {"silence", "noise", "another", "mean"}
    assert set(found["references"]) == {"nearest", "components"}
    assert "value" not in found


def test_white_noise_has_the_level_of_the_training_sounds():
    training = SoundSet(np.full((4, 500), 0.3, np.float32), np.arange(4))
    test = SoundSet(np.full((40, 500), 0.1, np.float32), 10 + np.arange(40))
    assert measured(training, test)["floors"]["noise"] == pytest.approx(0.3**2 + 0.1**2, rel=0.03)


def test_answers_of_a_family_replace_silence_and_noise():
    training, test = drawn(6, 3, 0), drawn(5, 3, 1)
    ones, twos = np.ones((5, 3), np.float32), np.full((5, 3), 2.0, np.float32)
    found = measured(training, test, silence=ones, noise=twos)["floors"]
    assert found["silence"] == pytest.approx(np.mean((test.sounds - 1) ** 2))
    assert found["noise"] == pytest.approx(np.mean((test.sounds - 2) ** 2))


def test_a_class_has_its_own_mean_and_another_sound_is_of_it():
    classes = np.array([0, 0, 1, 1, 5, 5])
    training = SoundSet(np.repeat(np.float32([[1.0], [3.0], [10.0]]), 2, 0), np.arange(6), classes)
    test = SoundSet(np.float32([[1.5], [3.5], [7.0]]), 10 + np.arange(3), np.array([0, 1, 2]))
    found = measured(training, test)["floors"]
    overall = training.sounds.mean()  # class 2 has no training sound
    assert found["class_mean"] == pytest.approx(np.mean([0.25, 0.25, (7 - overall) ** 2]))
    assert found["mean"] == pytest.approx(np.mean((test.sounds - overall) ** 2))
    others = floors_module._random_indices(training, test, np.random.default_rng(0))
    assert classes[others[:2]].tolist() == [0, 1]


def test_a_sound_is_no_answer_to_itself_nor_to_its_clip():
    clips = np.array([0, 0, 1])
    sounds = SoundSet(np.float32([[0.0], [1.0], [5.0]]), clips)
    found = measured(sounds, sounds)
    assert found["references"]["nearest"] == pytest.approx((5**2 + 4**2 + 4**2) / 3)
    others = floors_module._random_indices(sounds, sounds, np.random.default_rng(0))
    assert (clips[others] != clips).all()
    alone = SoundSet(sounds.sounds, np.zeros(3, np.int64))
    found = measured(alone, alone)
    assert "nearest" not in found["references"]
    assert "another" not in found["floors"]


def test_a_second_take_is_of_another_clip_at_the_nearest_position():
    training = SoundSet(
        np.float32([[1.0], [2.0], [9.0]]), np.array([0, 0, 1]), takes=["a", "a", "b"], positions=np.array([0, 100, 0])
    )
    test = SoundSet(
        np.float32([[1.5], [2.5], [4.0], [7.0]]),
        np.array([5, 5, 6, 7]),
        takes=["a", "a", "c", None],
        positions=np.array([10, 90, 0, 0]),
    )
    assert measured(training, test)["references"]["take"] == pytest.approx(0.25)  # of the two that have one
    assert "take" not in measured(training, SoundSet(test.sounds, test.clips))["references"]
    own = SoundSet(test.sounds[:2], np.array([5, 5]), takes=["c", "c"], positions=np.array([0, 1]))
    assert "take" not in measured(training, own)["references"]


def test_sets_are_compared_by_their_frechet_distance_and_other_sounds_are_a_reference():
    training, test = drawn(50, 3, 0), drawn(40, 3, 1, clips=100 + np.arange(40))
    scale = set_scale("Distance", ".1f", np.asarray, np.asarray)
    decoded = drawn(40, 3, 2).sounds
    found = measured(training, test, scale, decoded=decoded)
    assert found["value"] == pytest.approx(frechet(decoded, test.sounds))
    assert found["floors"]["mean"] == pytest.approx(
        frechet(np.broadcast_to(training.sounds.mean(0), (40, 3)), test.sounds), rel=1e-5
    )
    assert set(found["references"]) == {"another"}
    assert found["references"]["another"] < min(found["floors"].values())


def test_chance_is_a_floor_and_sounds_alone_answer_where_features_cannot_be_averaged():
    scale = Scale(
        "Right", ".0%", lambda sounds: sounds[:, 0] > 0, lambda targets, answers: targets == answers, mean_error,
        rises=True, spans=False, chance=0.75,
    )  # fmt: skip
    training, test = drawn(20, 2, 0), SoundSet(np.float32([[1.0], [1.0], [-1.0], [2.0]]), 100 + np.arange(4))
    found = measured(SoundSet(training.sounds[:, :1], training.clips), test, scale, decoded=test.sounds)
    assert found["floors"]["chance"] == 0.75
    assert found["floors"]["silence"] == 0.25
    assert "mean" not in found["floors"]
    assert not found["references"]
    assert found["value"] == 1
    assert found["not_better_than"] is None


def test_energies_give_a_ratio_in_decibels():
    test = SoundSet(np.float32([[1.0, 1.0], [2.0, 0.0]]), np.array([0, 1]))
    scale = Scale("Error", ".1f", np.asarray, energies, energy_ratio_db)
    found = measured(drawn(5, 2, 0, clips=10 + np.arange(5)), test, scale, decoded=0.5 * test.sounds)
    assert found["value"] == pytest.approx(10 * np.log10(0.25))
    assert found["floors"]["silence"] == pytest.approx(0, abs=1e-9)


# ---- a row beside its floors


def of(floor_values, rises=False):
    return {"rises": rises, "floors": floor_values, "references": {}, "numbers": 2, "label": "Error, dB", "form": ".1f"}


@pytest.mark.parametrize(
    ("rises", "value", "spread", "wanted"),
    [
        (False, 2.4, 0.5, None),
        (False, 2.5, 0.5, "mean"),
        (False, 2.6, None, None),
        (False, 3.0, None, "mean"),
        (False, 9.0, 0.1, "mean"),
        (True, 5.6, 0.5, None),
        (True, 5.5, 0.5, "silence"),
        (True, 1.0, 0.1, "silence"),
    ],
)
def test_a_row_within_its_deviation_of_the_best_floor_is_not_better(rises, value, spread, wanted):
    row = compare_row(of({"silence": 5.0, "mean": 3.0}, rises), value, spread)
    assert row["not_better_than"] == wanted
    assert (row["value"], row["deviation"]) == (value, spread)


def test_the_deviation_over_clips_is_the_standard_error_of_their_mean():
    values = np.random.default_rng(0).standard_normal(9)
    assert jackknife_deviation(mean_error, values, np.arange(9)) == pytest.approx(values.std(ddof=1) / 3)
    doubled = np.repeat(values, 2)  # two sounds of one clip say no more than one
    assert jackknife_deviation(mean_error, doubled, np.repeat(np.arange(9), 2)) == pytest.approx(values.std(ddof=1) / 3)
    assert jackknife_deviation(mean_error, values, np.zeros(9, int)) is None


def test_the_deviation_of_many_clips_is_near_that_of_all_left_out_one_by_one():
    values = np.random.default_rng(1).standard_normal(2000)
    assert jackknife_deviation(mean_error, values, np.arange(2000)) == pytest.approx(2000**-0.5, rel=0.5)


# ---- tables and sentences


def row_of(value, **floor_values):
    return {"error": compare_row(of(floor_values), value, 0.25)}


def test_a_page_shows_rows_above_their_floors_and_says_which_is_not_better():
    html = str(floors_table({"good": row_of(1.0, mean=3.0), "bad": row_of(2.9, mean=3.0)}))
    assert html.count("<table") == 1
    assert html.index("good") < html.index("bad") < html.index(FLOORS["mean"])
    assert "1.0 ± 0.2" in html
    assert html.count("not better than the mean training sound") == 1
    assert "No verdict" not in html
    assert "no verdict is drawn" in html


def test_a_floors_own_deviation_over_draws_counts_and_is_shown():
    floored = of({"silence": 5.0, "mean": 3.0}) | {"deviations": {"silence": 9.0, "mean": 0.7}}
    assert compare_row(floored, 2.4, 0.1)["not_better_than"] == "mean"
    assert compare_row(floored, 2.2, 0.1)["not_better_than"] is None
    assert compare_row(floored, 2.2, 0.9)["not_better_than"] == "mean"
    html = str(answers_table({"error": floored}, "Of draws."))
    assert "3.0 ± 0.7" in html
    assert html.count("Of draws.") == 1
    assert "no verdict is drawn" not in html


def test_a_network_without_codes_has_no_principal_components():
    training, test = drawn(20, 3, 0), drawn(5, 3, 1, clips=100 + np.arange(5))
    assert set(measured(training, test, numbers=0)["references"]) == {"nearest"}


def test_rows_of_other_sounds_have_a_table_of_their_own():
    html = str(floors_table({"good": row_of(1.0, mean=3.0), "other": row_of(1.0, mean=4.0)}))
    assert html.count("<table") == 2
    assert html.count("no verdict is drawn") == 1


def test_without_rows_there_is_no_table():
    assert str(floors_table({})) == ""


def test_references_are_named_with_the_numbers_of_the_code():
    row = row_of(1.0, mean=3.0)
    row["error"]["references"] = {"components": 0.5}
    assert "2 principal components" in str(floors_table({"network": row}))


def test_the_terminal_has_a_line_for_each_measure_and_one_for_each_floor_that_is_not_beaten():
    row = row_of(3.5, mean=3.0, silence=5.0)
    row["error"]["references"] = {"nearest": 1.0, "components": 0.5}
    head, line, said = floors_text(row).splitlines()
    assert head.split() == ["network", "silence", "mean", "nearest", "PCA"]
    assert line.split() == ["Error,", "dB", "3.5", "5.0", "3.0", "1.0", "0.5"]
    assert said == "Error: not better than the mean training sound."


def test_no_verdict_is_drawn_from_a_row_that_is_not_better_than_a_floor():
    praise = Sentence("It is near.")
    good, bad = {"floors": row_of(1.0, mean=3.0)}, {"floors": row_of(3.0, mean=3.0)}
    assert above_floor(good, "error", praise) == praise
    assert above_floor(good, "another", praise) == praise
    assert above_floor(bad, "error", praise) == Sentence("Error: not better than the mean training sound.", False)
    assert floor_sentences(bad["floors"]) == ["Error: not better than the mean training sound."]
    assert floor_sentences(bad["floors"], ["another"]) == []


# ---- sounds of families


def frames_of(seed, count, rows):
    """Frames of maximum 1, of a clip for each three."""
    rng = np.random.default_rng(seed)
    spectra = rng.random((count, 9), np.float32) ** 4
    spectra /= spectra.max(1, keepdims=True)
    origins = [FrameOrigin(Clip(f"{row}", 0, 1, "", row=row, key=60), i, 60.0) for i, row in enumerate(rows)]
    return FrameSample("test", count, origins, spectra, rng.integers(0, 3, count))


def test_floors_of_frames_are_in_the_measures_of_reports():
    training, test = frames_of(0, 30, np.arange(30) // 3), frames_of(1, 12, 50 + np.arange(12) // 3)
    decoded = 0.9 * test.spectra + 0.01
    found = frame_floors(training, test, decoded, 2, conditioned=True)
    means = mean_spectra(training.spectra, training.pitch_classes)[test.pitch_classes]
    for answers, figure in (
        (decoded, lambda floored: floored["value"]),
        (means, lambda floored: floored["floors"]["class_mean"]),
        (np.zeros_like(decoded), lambda floored: floored["floors"]["silence"]),
    ):
        wanted = reconstruction(test.spectra, answers, test.clips, means)
        for measure in ("mean_square", "spectral_convergence_db"):
            assert figure(found[measure]) == pytest.approx(wanted[measure]["value"], rel=1e-4, abs=1e-6)
    levels = spectrum_db(training.spectra).mean(0)
    distances = np.sqrt(np.square(spectrum_db(test.spectra) - levels).mean(1))
    assert found["log_spectral_distance_db"]["floors"]["mean"] == pytest.approx(distances.mean(), rel=1e-4)
    assert found["mean_square"]["references"]["take"] > 0  # all are of one key
    energies_of = np.square(training.spectra).mean() + np.square(test.spectra).mean()
    noise = found["mean_square"]["floors"]["noise"]
    assert 0.3 * energies_of < noise < energies_of  # magnitudes are positive, and so correlate
    assert "class_mean" not in frame_floors(training, test, decoded, 2, conditioned=False)["mean_square"]["floors"]


def test_answers_to_continuations_are_as_long_as_these_and_compared_with_the_whole_recording():
    lengths = []

    def compare(sound, recording):
        lengths.append((len(sound), len(recording)))
        return float(sound[:3].mean())

    sounds = [np.full(length, value) for length, value in ((4, 0.1), (9, 0.2))]
    found = continuation_floors(
        sounds,
        np.array([0, 1]),
        [np.full(2, 0.3), np.full(3, 0.3)],
        np.array([5, 6]),
        [np.full(6, 0.5), np.full(7, 0.9)],
        {"level": PairMeasure("Level", ".1f", compare)},
    )["level"]
    assert set(lengths) == {(6, 4), (7, 9)}
    assert found["value"] == pytest.approx(0.7)
    assert found["floors"]["another"] == pytest.approx(0.3)
    assert found["floors"]["silence"] == 0


def test_guessing_the_commonest_label_of_training_is_right_about_its_share_of_the_test():
    assert commonest_share(np.array([0, 2, 2, 1]), np.array([1, 1, 1, 2, 0])) == pytest.approx(0.2)


def test_clips_are_scaled_to_their_recordings_energy_and_medians_taken():
    rate = 8000
    rng = np.random.default_rng(0)
    recordings = rng.standard_normal((5, 4096)).astype(np.float32) * np.hanning(4096)
    scales = decoded_scales(rate, of_samples=True)
    for name, scale in scales.items():
        targets, answers = scale.features(recordings), scale.features((0.1 * recordings).astype(np.float32))
        wanted = 0.81 if name == "relative_error" else 0
        assert scale.value(scale.terms(targets, answers)) == pytest.approx(wanted, abs=1e-2), name
    np.testing.assert_allclose(scaled(0.1 * recordings, recordings), recordings, rtol=1e-4, atol=1e-6)


# ---- clips of random codes


def struck(count, seed):
    """Tones of half a second."""
    rng = np.random.default_rng(seed)
    times = np.arange(4096) / 8000
    clips = [np.sin(2 * np.pi * hz * times) for hz in rng.uniform(100, 3000, count)]
    return np.stack(clips).astype(np.float32)


def random_floors(decoded, test=None):
    scales = random_scales(8000, None, None, None)
    training = SoundSet(struck(30, 0), np.arange(30))
    test = SoundSet(struck(12, 1) if test is None else test, 100 + np.arange(12))
    return floors({name: scales[name] for name in ("diversity", "silence")}, training, test, 4, decoded)


def test_the_diversity_of_one_clip_repeated_is_nought_and_that_of_recordings_one():
    recordings = struck(12, 1)
    alike = random_floors(np.repeat(struck(1, 5), 12, 0))["diversity"]
    assert alike["value"] == pytest.approx(0, abs=0.01)
    assert alike["not_better_than"] == "noise"
    assert (alike["floors"]["silence"], alike["floors"]["mean"]) == pytest.approx((0, 0), abs=0.01)
    own = random_floors(recordings)["diversity"]
    assert own["value"] == 1
    assert own["not_better_than"] is None
    assert own["references"]["another"] == pytest.approx(1, abs=0.2)
    half = random_floors(np.concatenate([recordings[:6], recordings[:6]]))["diversity"]
    levels = log_mel(np.concatenate([recordings[:6], recordings[:6]]), 8000)
    by_pairs = [distance_db(levels[[i]], levels[[j]])[0] for i in range(12) for j in range(12) if i != j]
    everything = log_mel(recordings, 8000)
    of_all = [distance_db(everything[[i]], everything[[j]])[0] for i in range(12) for j in range(12) if i != j]
    assert half["value"] == pytest.approx(np.mean(by_pairs) / np.mean(of_all), rel=0.01)
    assert half["deviation"] > 0


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_silent_time_is_compared_with_that_of_recordings(share):
    recordings = struck(12, 1)
    recordings[:, round(4096 * (1 - share)) :] = 0
    assert silent_shares(recordings, 8000) == pytest.approx(np.full(12, share), abs=0.02)
    found = random_floors(struck(12, 2), recordings)["silence"]
    assert found["value"] == pytest.approx(share, abs=0.02)
    assert found["floors"]["silence"] == pytest.approx(1 - share, abs=0.02)
    assert found["floors"]["noise"] == pytest.approx(share, abs=0.02)
    assert random_floors(recordings, recordings)["silence"]["value"] == 0


def test_a_soft_tail_is_silent_from_fifty_decibels_on_and_a_silent_clip_is_all_silent():
    clips = np.repeat(struck(1, 0), 3, 0)
    clips[0, 2048:] *= 10 ** (-45 / 20)
    clips[1, 2048:] *= 10 ** (-55 / 20)
    clips[2] = 0
    assert silent_shares(clips, 8000) == pytest.approx([0, 0.5, 1], abs=0.02)
