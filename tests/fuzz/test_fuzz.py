"""Sixty damaged files, where `make fuzz` damages ten thousand; and planted faults, which it must notice."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PLANTED = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, {folder!r})
import fuzz
from timbrel.host.model import model
read = model.read_card
case = lambda self, rng: fuzz.Case("model", self.pools["model"][0], "bad.onnx", [*COMMAND])
COMMAND = ["render", "bad.onnx", "whole.mid", *fuzz.SOUNDING]
fuzz.Kitchen.case = case
faults = {faults!r}
for fault in faults:
    fuzz.SECONDS = 0.2 if "while" in fault else 10.0
    def planted(*_):
        exec(fault)
        raise model.UserError("said")
    model.read_card = planted
    fuzz.BYTES = -1 if fault == "pass  # too large" else 1 << 30
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as kept:
        try:
            found = fuzz.run(1, 0, Path(folder), Path(kept)).faults
        except KeyboardInterrupt:
            found = ["the whole run is stopped"]
    print("FOUND", json.dumps(found))
"""
FAULTS = {  # what goes wrong as a card is read, and what is said of it
    "raise KeyError('planted')": "timbrel: internal error: KeyError: 'planted'",
    "while True: pass": "timbrel: internal error: no end after 0.2 s",
    "fuzz.signal.setitimer(fuzz.signal.ITIMER_PROF, 0)\nend = fuzz.time.process_time() + 0.4\n"
    "while fuzz.time.process_time() < end: pass": "took ",
    "bytearray(1 << 40)": "memory is used up",
    "print('another line', file=sys.stderr)": "said too much",
    "print('half')": "not one line",
    "open('new.wav', 'w').close()": "left behind: ['new.wav']",
    "open('.new.x.wav', 'w').close()": "left behind: ['.new.x.wav']",
    "sys.exit(0)": "left behind: []",
    "sys.exit(3)": "status 3",
    "fuzz.signal.raise_signal(fuzz.signal.SIGTERM)": "the whole run is stopped",
    "pass  # too large": "the process took",
    "pass": None,
    "raise model.UserError('\x1b[2J')": None,  # made harmless where it is printed
}


def test_damaged_files_end_in_a_line_in_time_and_leave_nothing_by_halves():
    command = [sys.executable, str(HERE / "fuzz.py"), "60", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 cases of seed 0 in " in done.stdout
    for kind in ("model", "encoder", "preset", "tune", "scale", "keymap", "sound"):
        assert f"{kind:<9}status 2: " in done.stdout
    assert "sound    status 0: " in done.stdout


def test_what_goes_wrong_is_noticed():
    code = PLANTED.format(folder=str(HERE), faults=[*FAULTS])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    found = [json.loads(line.removeprefix("FOUND")) for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert len(found) == len(FAULTS), done.stderr
    for (fault, words), said in zip(FAULTS.items(), found, strict=True):
        assert len(said) == (words is not None), (fault, said)
        assert (words or "") in "".join(said), (fault, said)
