"""Two instances in a session of Ardour, exported twice without its window: what comes out is what render makes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import mido
import numpy as np
import pytest
import soundfile
from timbrel.host.play.player import SILENCE
from timbrel.host.plugin.bundles import add_presets

from ...patience import PATIENCE_SECONDS
from .lv2 import needs
from .native import HERE, make

TOOL = "ardour7-lua"
LIBRARIES = Path("/usr/lib/ardour7")  # where Debian has them, and the program that finds VST3 plugins
NAMES = {"LV2": "urn:timbrel:instrument", "VST3": "39FA3BAA68112038EC2B9D6D455890C6"}
RATE = 48000
SECONDS = 6.0
SUPERCLOCKS = 282_240_000  # a second, as Ardour counts
TICKS = 480  # a beat; at 120 BPM 50 samples each, so that none is rounded
BEATS = 2.0  # a second
KNOB = 74
TRIES = 4  # of Ardour, which ends at times with its own synthesizer too: ports collide, memory is freed twice
FLOAT = "75969a1c-3133-4694-864b-a1fa50e43349"
FLOAT_PRESET = f"""<?xml version="1.0" encoding="UTF-8"?>
<ExportPreset id="{FLOAT}" name="float"><ExportFormat id="20b4ab09-6452-4cb3-bd66-b921cdbd2942"/></ExportPreset>
"""  # with the id that Ardour gives its own format of 32 bits
KEYS = {"gm-keys": (60, 64, 67), "gm-pad": (48, 55, 72)}  # that each preset plays

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which(TOOL), reason="needs Ardour 7: Debian's ardour"),
]


@pytest.fixture
def environment(plugin_format, tmp_path):
    """What Ardour runs with: a home of its own, and the plugin as `timbrel plugin install` leaves it."""
    needs("lv2")
    kind = plugin_format.lower()
    make(kind, tmp_path / "build")
    bundle = tmp_path / f".{kind}/timbrel.{kind}"
    shutil.copytree(tmp_path / f"build/timbrel.{kind}", bundle)
    binary = next(bundle.rglob("timbrel.so"))
    binary.with_name("interpreter").write_text(f"{sys.executable}\n")
    here = {"HOME": str(tmp_path), "LV2_PATH": f"{tmp_path / '.lv2'}:/usr/lib/lv2"}
    presets = tmp_path / ".config/ardour7/export"
    presets.mkdir(parents=True)
    (presets / "float.preset").write_text(FLOAT_PRESET)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | here
    if plugin_format == "LV2":
        add_presets(bundle)
    else:
        os.utime(binary, (0, 0))  # Ardour does not trust what it knows of a plugin that was made in the same second
        libraries = {"LD_LIBRARY_PATH": str(LIBRARIES)}
        subprocess.run([LIBRARIES / "ardour-vst3-scanner", bundle], env=environment | libraries, check=True)
    return environment


def song(path, keys):
    """A tune of some keys and a knob, on times that fall on samples in Ardour too."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=round(1e6 / BEATS))])
    for place, key in enumerate(keys):
        track.append(mido.Message("note_on", note=key, velocity=60 + 10 * place, time=37))
        track.append(mido.Message("control_change", control=KNOB, value=100 - 20 * place, time=111))
        track.append(mido.Message("note_off", note=key, time=480))
    mido.MidiFile(tracks=[track], ticks_per_beat=TICKS).save(path)
    return path


def put_tunes(session, tunes):
    """Put a MIDI file on each track of a saved session, and mark what is to be exported."""
    file = session / f"{session.name}.ardour"
    tree = ElementTree.parse(file)
    root = tree.getroot()
    numbers = iter(range(int(root.get("id-counter")), 1 << 30))

    def add(place, kind, **fields):
        known = {name.replace("_", "-"): value for name, value in fields.items()}
        ElementTree.SubElement(root.find(place), kind, id=str(next(numbers)), **known)

    ticks = round(SECONDS * BEATS * 1920)  # Ardour's own, of which a beat has as many
    for track, tune in enumerate(tunes, start=1):
        shutil.copy(tune, session / "interchange" / session.name / "midifiles" / tune.name)
        source = str(next(numbers))
        named = {"name": tune.name, "type": "midi", "flags": "", "take-id": "", "origin": "", "natural-position": "a0"}
        told = ElementTree.SubElement(root.find("Sources"), "Source", named | {"id": source})
        # Else Ardour leads a controller from each of its values to the next, as no MIDI file says.
        ElementTree.SubElement(told, "InterpolationStyle", parameter=f"midicc-0-{KNOB}", style="Discrete")
        region = {"name": tune.stem, "type": "midi", "start": "b0", "length": f"b{ticks}@b0", "channels": "1"}
        region |= {"source_0": source, "master_source_0": source, "first_edit": "nothing", "layering_index": "0"}
        add("Regions", "Region", whole_file="1", **region)
        add(f"Playlists/Playlist[{track}]", "Region", whole_file="0", **region)
    # A port that is connected to a card is 16 samples later once Ardour has heard of the connection. Where it hears of
    # it after it has prepared an export and before that begins, all that it exports is 16 samples early.
    for port in root.iter("Port"):
        for connection in port.findall("Connection"):
            if connection.get("other", "").startswith("system:"):
                port.remove(connection)
    end = f"a{round(SECONDS * SUPERCLOCKS)}"
    add("Locations", "Location", name="session", start="a0", end=end, flags="IsSessionRange", locked="0")
    root.set("id-counter", str(next(numbers)))
    tree.write(file)


def run(made, environment, script, *arguments):
    """Run a script in Ardour that makes a file or folder; again where Ardour ends on its own account.

    Return what it printed.
    """
    for _ in range(TRIES):
        if made.is_dir():
            shutil.rmtree(made)
        made.unlink(missing_ok=True)
        command = [TOOL, HERE / script, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        if done.returncode == 0:
            break
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Error:" not in said
    return said


def exported(session, name, environment):
    """Return Ardour's export of a session, 32-bit floats, [samples, 2], and its printed lines."""
    path = session.with_name(f"{name}.wav")
    said = run(path, environment, "ardour_export.lua", session, session.name, str(RATE), path.parent, name, FLOAT)
    assert soundfile.info(path).subtype == "FLOAT"
    return soundfile.read(path, dtype="float32")[0], said


def check_twice(session, exports):
    """Two exports sound, last as long as the song, and are the same; else all that was said and saved is shown."""
    (first, _), (second, _) = exports
    lengths, levels = {len(first), len(second)}, [np.abs(sound).max() for sound in (first, second)]
    if lengths == {SECONDS * RATE} and min(levels) > 0.05 and first.tobytes() == second.tobytes():
        return
    logs = [file.read_text(errors="replace") for file in sorted(session.parent.rglob("plugin.log"))]
    saved = (session / f"{session.name}.ardour").read_text()
    printed = "\n".join(said for _, said in exports)
    pytest.fail(f"exports of {lengths} samples, up to {levels}\n{printed}\n{logs}\n{saved}")


@pytest.mark.parametrize("plugin_format", NAMES)
def test_two_exports_of_two_instances_are_the_same_samples_and_those_of_render(
    environment, plugin_format, timbrel, tmp_path
):
    session, plugin = tmp_path / "song", (plugin_format, NAMES[plugin_format])
    run(session, environment, "ardour_session.lua", session, session.name, str(RATE), *plugin, *KEYS)
    tunes = [song(tmp_path / f"{name}.mid", keys) for name, keys in KEYS.items()]
    put_tunes(session, tunes)
    exports = [exported(session, name, environment) for name in ("first", "second")]
    check_twice(session, exports)
    first = exports[0][0]
    parts, ends = np.zeros_like(first), []
    for preset, tune in zip(KEYS, tunes, strict=True):
        out = tmp_path / f"{preset}.wav"
        assert timbrel("render", preset, tune, "-o", out, "--float", "--rate", RATE).status == 0
        sound = soundfile.read(out, dtype="float32")[0]
        parts[: len(sound)] += sound
        ends.append(len(sound))
    assert min(ends) > 1.5 * RATE
    np.testing.assert_array_equal(first[: min(ends)], parts[: min(ends)])
    assert np.abs(first - parts).max() < len(KEYS) * SILENCE  # render leaves out what comes after
