"""Five jobs of docs/python.md: lines of code and processor seconds, beside DawDreamer's sampler where it can do them.

The sampler plays one recorded note at all keys, so its times are the least cost of such a job. pedalboard has no
instrument of its own; both play instruments that are plugins.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import timbrel
from timbrel.host.preset.shipped import shipped_tunes

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
JOBS = re.findall(r"```python\n(# (\d)\..*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)  # code, number
ROUNDS = 5
SAMPLER = {
    "1": """
sampler.load_midi("tune.mid")
engine.render(seconds)
soundfile.write("1.wav", engine.get_audio().T, 44100)
""",
    "2": """
sounds = []
for key in range(60, 84):
    sampler.clear_midi()
    sampler.add_midi_note(key, 100, 0, 0.8)
    engine.render(1)
    sounds.append(engine.get_audio())
""",
    "3": """
sampler.clear_midi()
sampler.add_midi_note(60, 100, 0, 2)
sampler.set_parameter(8, 1)  # turns its filter on
sampler.set_automation("Filter Cutoff", np.linspace(0.2, 0.8, 88200, dtype=np.float32))
engine.render(2)
swell = engine.get_audio()
""",
}


def line_count(code: str) -> int:
    """Return the lines of code without comments of their own."""
    return sum(bool(line.strip()) and not line.startswith("#") for line in code.splitlines())


def seconds_of(code: str, names: dict[str, object]) -> float:
    """Return the median processor seconds of a job, after a first run."""
    times = []
    for _ in range(1 + ROUNDS):
        since = time.process_time()
        exec(code, names)
        times.append(time.process_time() - since)
    return median(times[1:])


def sampler_names(oboe: timbrel.Instrument) -> dict[str, object] | None:
    """Return the resources of the sampler's jobs; None without DawDreamer."""
    try:
        import dawdreamer
        import soundfile
    except ImportError:
        return None
    engine = dawdreamer.RenderEngine(44_100, 512)
    sampler = engine.make_sampler_processor("oboe", np.asarray(oboe.render(timbrel.Note(60, duration=2), seconds=3)))
    engine.load_graph([(sampler, [])])
    seconds = oboe.render("tune.mid").seconds
    return {"engine": engine, "sampler": sampler, "soundfile": soundfile, "np": np, "seconds": seconds}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copyfile(shipped_tunes()["solo-oboe"], "tune.mid")
        oboe = timbrel.open("gm-oboe")
        names: dict[str, object] = {"timbrel": timbrel, "oboe": oboe, "np": np}
        peer_names = sampler_names(oboe)
        for code, number in JOBS:
            peer = SAMPLER.get(number)
            peer_text = "not its job" if peer is None else "not installed" if peer_names is None else ""
            if peer is not None and peer_names is not None:
                peer_text = f"{line_count(peer)} lines, {seconds_of(peer, peer_names):.3f} s"
            title = code.splitlines()[0].removeprefix("# ")
            print(f"{title}: timbrel {line_count(code)} lines, {seconds_of(code, names):.3f} s; sampler {peer_text}")


if __name__ == "__main__":
    main()
