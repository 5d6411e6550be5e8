"""The same phrase through each way to find phases: writes docs/internals/ab/index.html with pictures and sounds.

    python tests/bench/ab.py

Played phrases go through the host, from the models of shipped presets; the single note goes from its own magnitudes
through the methods of `phase_methods`. The note is a violin's by FluidSynth, or a synthetic one where FluidSynth or
the soundfont is missing. A method that is not installed is left out. The same code gives the same files.
"""

import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib
import numpy as np
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from phase import FRAME, HOP, RATE, SOUNDFONT, VIOLIN, present, rendered
from phase_methods import Method, best_from_noise, convergence_db, modulation_db, sound_of
from PIL import Image
from pitch import HELD_SECONDS, peak_cents, still
from pitch import SETTLED as BEGUN
from pitch import played as held_key
from timbrel.host.events import ControlChange, Event, NoteOff, NoteOn, PitchBend
from timbrel.host.files import replacing_folder
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.picture import INK, LEVELS, PAPER
from timbrel.host.signal import stft
from timbrel.host.units import midi_to_hz

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "internals" / "ab"
PRESETS = ("gm-chroma-8", "gm-chroma-2")  # of spectra, whose phases are to be found
SETTINGS = {
    "Stored noise phase": {"phase": "noise"},
    "Coherent": {"phase": "coherent"},
    "Best, offline": {"phase": "best"},
    "Coherent, nothing between the partials": {"phase": "coherent", "noise": 0.0},
    "Coherent, three voices in unison, wide": {"phase": "coherent", "unison": 3, "width": 0.8},
}
KEYS = (60, 64, 67, 71, 72)
NOTE_SECONDS, LAST_SECONDS, TAIL_SECONDS = 0.55, 1.2, 0.4
KNOB = 71  # turns latent 1 of both
MOVE_EVERY = 0.004  # seconds: as fast as a wheel or knob sends over a MIDI cable
VIOLIN_KEY, VIOLIN_SECONDS = 67, 2.4
SETTLED = 0.5  # seconds at either end of the single note in which its level may rise and fall

LEVEL_DB = -23.0  # of full scale, each sound's root mean square: the louder of two always seems the better
FADE_SECONDS = 0.05  # where a sound from spectra begins and ends, few frames overlap, and what misfits is loud
QUALITY = 0.9  # soundfile's compression_level; 1 is the smallest
PIECE = 16384  # samples a call: libsndfile's Vorbis encoder puts a call's samples on the stack

WINDOW = 2048  # tells harmonics of C4 apart, and still where a note begins
TOP_HZ = 8000
LOUDEST_DB, RANGE_DB, STEP_DB = -25.0, 64, 4  # of a full-scale sinusoid; few steps of colour make small files
INCHES, DPI = (7.2, 3.3), 100  # 720 pixels: sharp enough on a phone
COLUMNS = 250  # of a picture, each two pixels wide
PALETTE = 32  # colours of a picture: the steps, and those between ink and paper

STYLE = f"""
body {{ margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 80rem; background: {PAPER}; color: {INK};
  font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ margin: 0 0 0.5rem; font-size: 1.5rem; }}
h2 {{ margin: 3rem 0 0.5rem; font-size: 1.25rem; }}
h3 {{ margin: 0 0 0.4rem; font-size: 1rem; }}
p {{ margin: 0.4rem 0; max-width: 46rem; }}
.rows {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 2rem 1.5rem;
  margin-top: 1.5rem; }}
img {{ display: block; width: 100%; height: auto; }}
audio {{ display: block; width: 100%; margin: 0.3rem 0; }}
"""


@dataclass(frozen=True)
class Row:
    """One way to sound a phrase: a sound [channels, samples], and what is said of it in figures."""

    title: str
    sound: np.ndarray
    said: str


@dataclass(frozen=True)
class Phrase:
    """Rows to compare; ``name`` begins the names of their files."""

    name: str
    title: str
    text: str
    rows: list[Row]


def performance(keys: Sequence[int]) -> tuple[list[Event], int]:
    """Keys one after another, the last one held, and the samples it all lasts.

    The knob goes from its lowest to its highest before the last key, which is bent up two semitones and back.
    """
    starts = [NOTE_SECONDS * number for number in range(len(keys))]
    ends = [*starts[1:], starts[-1] + LAST_SECONDS]
    at = [(round(start * RATE), round(end * RATE), key) for start, end, key in zip(starts, ends, keys, strict=True)]
    events: list[Event] = [NoteOn(start, 0, key, 100) for start, _, key in at]
    events += [NoteOff(end, 0, key) for _, end, key in at]
    turned = np.arange(0, starts[-1], MOVE_EVERY)
    events += [ControlChange(round(t * RATE), 0, KNOB, round(127 * t / starts[-1])) for t in turned]
    bent = np.arange(0, LAST_SECONDS, MOVE_EVERY)
    wheel = 8191 * np.sin(np.pi * bent / LAST_SECONDS) ** 2
    events += [PitchBend(round((starts[-1] + t) * RATE), 0, round(w)) for t, w in zip(bent, wheel, strict=True)]
    return sorted(events, key=lambda event: event.time), round((ends[-1] + TAIL_SECONDS) * RATE)


def played_phrase(name: str, keys: Sequence[int] = KEYS) -> Phrase:
    """A preset's phrase with each of the settings."""
    events, length = performance(keys)
    rows = []
    for title, settings in SETTINGS.items():
        patch = open_patch(name)
        play = patch.preset.play.model_copy(update=settings)
        rack = Rack({0: replace(patch, preset=patch.preset.model_copy(update={"play": play}))}, RATE)
        sound, _ = rack.process(events, length + rack.latency_samples)
        sound = sound[:, rack.latency_samples :]
        held = held_key(still(name, **settings), keys[0], HELD_SECONDS)[round(BEGUN * RATE) :]
        cents = round(peak_cents(held, midi_to_hz(keys[0])), 1) + 0.0  # no -0.0
        said = f"Level swing {modulation_db(held, RATE):.1f} dB, pitch {cents:+.1f} cents"
        rows.append(Row(title, sound if settings.get("width") else sound.mean(0, keepdims=True), said))
    text = (
        f"The preset {name} through the host: five keys, a knob turned up under the first four, the last one "
        "bent up two semitones and back. Level swing and pitch are those of its first key held for three seconds "
        "without knobs and envelope; voices in unison beat, as they should. There is no source here that a spectral "
        "convergence could be counted from."
    )
    return Phrase(name, f"Played: {name}", text, rows)


def bowed(key: int, seconds: float) -> np.ndarray:
    """What stands for a violin: harmonics with vibrato and resonances, a slow attack, breath of the bow, [samples]."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = midi_to_hz(key)
    turns = hz * time - hz * 0.006 * np.cos(2 * np.pi * 5.5 * time) / (2 * np.pi * 5.5)
    sound = 0.002 * np.random.default_rng(3).standard_normal(len(time))
    for harmonic in range(1, int(10_000 / hz)):
        resonance = 0.3 + np.exp(-(((harmonic * hz - 2500) / 1200) ** 2))
        sound += 0.2 * resonance / harmonic * np.sin(2 * np.pi * harmonic * turns)
    return (sound * np.minimum(1.0, np.minimum(time / 0.08, time[::-1] / 0.08))).astype(np.float32)


def violin() -> tuple[np.ndarray, str]:
    """The single note and what it is."""
    if shutil.which("fluidsynth") and SOUNDFONT.is_file():
        note = rendered(VIOLIN, range(VIOLIN_KEY, VIOLIN_KEY + 1), VIOLIN_SECONDS)[0]
        return note.sound, "a violin of the FluidR3 soundfont"
    return bowed(VIOLIN_KEY, VIOLIN_SECONDS), "synthetic, like a violin's (FluidSynth or its soundfont is missing)"


def analysed_phrase(source: np.ndarray, what: str, methods: dict[str, Method]) -> Phrase:
    """A note and what each method makes of its magnitudes."""
    wanted = np.abs(stft(source, FRAME, HOP))
    length = (len(wanted) - 1) * HOP + FRAME
    rows = [Row("The source itself", _faded(source[:length]), f"Level swing {_swing(source[:length]):.1f} dB")]
    for title, method in methods.items():
        sound = sound_of(method(wanted, FRAME, HOP), FRAME, HOP)
        convergence = convergence_db(wanted, np.abs(stft(sound, FRAME, HOP)))
        said = f"Spectral convergence {convergence:.1f} dB, level swing {_swing(sound):.1f} dB"
        rows.append(Row(title[0].upper() + title[1:], _faded(sound), said))
    text = (
        f"One note, {what}: magnitudes of {FRAME} samples every {HOP}, their phases forgotten, found again by each "
        "method. The coherent voice, which instruments play with, takes each frame apart into partials and noise, and "
        "makes noise of its own: it does not follow each bin. Basins keep the magnitudes as they are, each frame's "
        "phases from those before it; best refines these in rounds over the whole sound. Spectral convergence is how "
        "far the result's magnitudes are from those given, lower is better; level swing is from the lowest to the "
        f"highest level but for {SETTLED:g} s at either end, best as the source has it."
    )
    return Phrase("note", "From true magnitudes: one note", text, rows)


def _swing(sound: np.ndarray) -> float:
    return modulation_db(sound[round(SETTLED * RATE) : -round(SETTLED * RATE)], RATE)


def _faded(sound: np.ndarray) -> np.ndarray:
    ends = np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / (FADE_SECONDS * RATE)
    return (sound * np.minimum(1.0, ends))[np.newaxis]


def levelled(sound: np.ndarray) -> np.ndarray:
    return sound * (10 ** (LEVEL_DB / 20) / np.sqrt(np.mean(np.square(sound, dtype=np.float64)))).astype(np.float32)


def draw(path: Path, sound: np.ndarray) -> None:
    """A spectrogram, up to 8 kHz, over seconds."""
    mono = np.pad(sound.mean(0), WINDOW // 2)
    spectra = np.abs(stft(mono, WINDOW, max(1, (len(mono) - WINDOW) // COLUMNS)))
    power = np.square(spectra * (4 / WINDOW))  # 1 for a sinusoid of amplitude 1, by the sum of a Hann window
    level = 10 * np.log10(np.maximum(power, 1e-20))[:, : round(TOP_HZ * WINDOW / RATE) + 1]
    colours = LinearSegmentedColormap.from_list("levels", LEVELS, RANGE_DB // STEP_DB)
    ours = {"figure.facecolor": PAPER, "font.size": 12, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(ours):
        figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
        panel = figure.add_subplot()
        image = panel.imshow(
            level.T,
            extent=(0, sound.shape[1] / RATE, 0, TOP_HZ / 1000),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap=colours,
            vmin=LOUDEST_DB - RANGE_DB,
            vmax=LOUDEST_DB,
        )
        panel.set(xlabel="seconds", ylabel="kHz")
        figure.colorbar(image, label="dB", pad=0.01)
        figure.canvas = FigureCanvasAgg(figure)
        figure.canvas.draw()
        dots = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    dots.quantize(PALETTE, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def write_sound(path: Path, sound: np.ndarray) -> None:
    """Ogg Vorbis whose bytes follow from the sound: libsndfile gives each file a random serial number."""
    with soundfile.SoundFile(path, "w", RATE, len(sound), "VORBIS", format="OGG", compression_level=QUALITY) as file:
        for begin in range(0, sound.shape[1], PIECE):
            file.write(sound[:, begin : begin + PIECE].T)
    path.write_bytes(renumbered(path.read_bytes()))


def renumbered(ogg: bytes) -> bytes:
    """An Ogg file with serial number 1 in all its pages (RFC 3533, section 6), and their checksums to fit."""
    pages, at = [], 0
    while at < len(ogg):
        count = ogg[at + 26]
        end = at + 27 + count + sum(ogg[at + 27 : at + 27 + count])
        page = bytearray(ogg[at:end])
        page[14:18], page[22:26] = struct.pack("<I", 1), bytes(4)
        page[22:26] = struct.pack("<I", _checksum(page))
        pages.append(bytes(page))
        at = end
    return b"".join(pages)


def _checksum(page: bytes | bytearray) -> int:
    """CRC-32 of Ogg: polynomial 0x04c11db7, from 0, most significant bit first."""
    rest = 0
    for byte in page:
        rest = (rest << 8 & 0xFFFFFFFF) ^ CHECKSUMS[rest >> 24 ^ byte]
    return rest


def _remainder(byte: int) -> int:
    rest = byte << 24
    for _ in range(8):
        rest = rest << 1 ^ (0x104C11DB7 if rest >> 31 else 0)
    return rest


CHECKSUMS = [_remainder(byte) for byte in range(256)]


def write(folder: Path, phrases: Sequence[Phrase]) -> None:
    """The page with its pictures and sounds, whole, in place of what was there."""
    with replacing_folder(folder) as new:
        parts = []
        for phrase in phrases:
            parts.append(f"<h2>{escape(phrase.title)}</h2>\n<p>{escape(phrase.text)}</p>\n" + '<div class="rows">')
            for number, row in enumerate(phrase.rows):
                name = f"{phrase.name}-{number}"
                sound = levelled(row.sound)
                draw(new / f"{name}.png", sound)
                write_sound(new / f"{name}.ogg", sound)
                parts.append(_section(name, row))
            parts.append("</div>")
        (new / "index.html").write_text(page("\n".join(parts)), encoding="utf-8")


def _section(name: str, row: Row) -> str:
    title = escape(row.title)
    width, height = (round(inches * DPI) for inches in INCHES)
    return (
        f'<section>\n<h3>{title}</h3>\n<img src="{name}.png" alt="Spectrogram: {title}" width="{width}" '
        f'height="{height}">\n<audio controls preload="none" src="{name}.ogg"></audio>\n'
        f"<p>{escape(row.said.replace('-', '−'))}</p>\n</section>"
    )


def page(body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>timbrel: phases, side by side</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Phases, side by side</h1>
<p>A decoder says how strong each frequency is, not its phase. Here is the same sound with phases found in different
ways. All sounds are equally loud (root mean square); all pictures have one scale of colours.</p>
{body}
</body>
</html>
"""


def main() -> None:
    methods = {name: method for name, method in present().items() if method is not best_from_noise}
    phrases = [*(played_phrase(name) for name in PRESETS), analysed_phrase(*violin(), methods)]
    write(FOLDER, phrases)
    for phrase in phrases:
        print(f"\n{phrase.title}")
        for row in phrase.rows:
            print(f"  {row.title:<42}{row.said}")
    sizes = [file.stat().st_size for file in FOLDER.iterdir()]
    print(f"\n{FOLDER.name}: {len(sizes)} files, {sum(sizes) / 1000:.0f} kB, the largest {max(sizes) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
