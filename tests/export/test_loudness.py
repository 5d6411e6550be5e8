"""The loudness of a model is that of its demo by the broadcasters' measure, and levels its voices."""

from dataclasses import replace

import numpy as np
import pytest
from timbrel.export import first_preset as measuring
from timbrel.export.first_preset import demo, first_preset, model_loudness_lufs, peaks_dbfs
from timbrel.export.kinds.kind import RATE as DEMO_RATE
from timbrel.host.engines.engine import VOICE_LUFS
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch

from .bs1770 import RATE, integrated_lufs

AT_VELOCITY_100 = 40 * np.log10(100 / 127)  # what is taken away from full velocity


def demo_lufs(model):
    """The loudness of the demo of a model's first preset, played and measured at another rate than the card's was."""
    patch = Patch("heard", first_preset(model), model, model.path.parent)
    performance = demo(patch)
    instrument = ChannelInstrument(patch, RATE)
    length = round(performance.length * RATE / DEMO_RATE)
    events = [replace(event, time=round(event.time * RATE / DEMO_RATE)) for event in performance.events]
    sound = instrument.process(events, length + instrument.latency_samples)
    return integrated_lufs(sound[:, instrument.latency_samples :])


def test_the_meter_of_these_tests_reads_a_full_scale_sine_of_997_hz_as_minus_3():
    """As BS.1770-4, annex 1 has it for one channel."""
    sine = np.sin(2 * np.pi * 997 * np.arange(10 * RATE) / RATE)
    assert integrated_lufs(np.stack([sine, 0 * sine])) == pytest.approx(-3.01, abs=0.02)


@pytest.mark.parametrize("octave", [2, 4, 6])
def test_loudness_is_that_of_the_demo_by_bs_1770_at_full_velocity(analytic, octave):
    model = analytic(octave)
    assert model_loudness_lufs(model) == pytest.approx(demo_lufs(model) - AT_VELOCITY_100, abs=0.1)


def test_twice_the_amplitude_is_6_db_louder(analytic):
    """The default code of one model doubles the other's frames."""
    plain, loud = analytic(name="plain"), analytic(name="loud")
    knob = loud.card.latents[0].model_copy(update={"default": 1.0})
    loud.card = loud.card.model_copy(update={"latents": [knob]})
    assert model_loudness_lufs(loud) - model_loudness_lufs(plain) == pytest.approx(20 * np.log10(2), abs=0.01)


def test_a_card_with_its_loudness_makes_the_demo_sound_at_the_hosts_level(analytic):
    model = analytic(lufs=round(model_loudness_lufs(analytic(name="bare")), 2))
    assert demo_lufs(model) == pytest.approx(VOICE_LUFS + AT_VELOCITY_100, abs=0.1)


def test_where_a_key_would_pass_full_scale_the_peak_decides(analytic, monkeypatch):
    bare = analytic(name="bare")
    monkeypatch.setattr(measuring, "demo_loudness_lufs", lambda patch: -90.0)
    model = analytic(lufs=model_loudness_lufs(bare))
    assert max(peaks_dbfs(Patch("loud", first_preset(model), model, model.path.parent)).values()) == pytest.approx(
        -1.0, abs=0.01
    )


def test_an_exported_model_with_gestures_sounds_at_the_hosts_level(small_model):
    model = Model(small_model)
    assert model.gestures is not None
    assert demo_lufs(model) == pytest.approx(VOICE_LUFS + AT_VELOCITY_100, abs=0.1)


def test_an_exported_kit_sounds_at_the_hosts_level(hit_model):
    model = Model(hit_model(True))
    model.card = model.card.model_copy(update={"loudness_lufs": VOICE_LUFS})
    measured = model_loudness_lufs(model)
    model.card = model.card.model_copy(update={"loudness_lufs": measured})
    assert demo_lufs(model) == pytest.approx(VOICE_LUFS + AT_VELOCITY_100, abs=1.5)  # trainings round by processor


def test_hits_of_a_kit_may_pass_full_scale_for_a_peak_would_set_the_level_of_all(hit_model, monkeypatch):
    model = Model(hit_model(True))
    model.card = model.card.model_copy(update={"loudness_lufs": VOICE_LUFS})
    measured = model_loudness_lufs(model)
    monkeypatch.setattr(measuring, "peaks_dbfs", lambda patch: {36: 20.0})
    assert model_loudness_lufs(model) == measured


def test_a_model_that_is_silent_has_a_finite_loudness(analytic, monkeypatch):
    model = analytic()
    monkeypatch.setattr(model, "decode", lambda latent, chroma: np.zeros((len(latent), 2049), np.float32))
    assert model_loudness_lufs(model) == pytest.approx(-120 - AT_VELOCITY_100)
