"""Tests of the package: those of all families, and of its preset table."""

from pathlib import Path

import numpy as np
from timbrel.export.testing import RATE, FamilySuite
from timbrel.host.events import NoteOn
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch


class TestMelVAE(FamilySuite):
    recipe = "mel-vae"

    def test_tilt_lowers_high_harmonics(self, model: Path) -> None:
        def brightness(tilt_db: float) -> float:
            preset = model.with_name(f"tilt{tilt_db:g}.toml")
            preset.write_text(f'format = 1\nmodel = "{model.name}"\n[mel]\ntilt_db = {tilt_db}\n')
            sound = Rack({0: open_patch(str(preset))}, RATE).process([NoteOn(0, 0, 48, 100)], RATE)[0][0]
            magnitudes = np.abs(np.fft.rfft(sound))
            return float(magnitudes @ np.arange(len(magnitudes)) / magnitudes.sum())

        assert brightness(-12.0) < 0.8 * brightness(0.0)
