"""The screen keeps its lines and its width for any report."""

import contextlib
import fcntl
import io
import math
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.live import session
from timbrel.host.live import terminal as screen
from timbrel.host.live.terminal import WIDTH, FullScreen, PlainScreen, Typist, rows, summary
from timbrel.host.preset.shipped import shipped_presets
from timbrel.host.session.messages import LiveStatus, Setup

from ...patience import PATIENCE_SECONDS

REPORT = LiveStatus(
    device="system (JACK Audio Connection Kit)",
    rate=48000,
    block=128,
    latency_ms={"card": 2.7, "ring": 5.3, "timing": 2.7, "instrument": 1.5},
    measured_ms=None,
    load=(0.08, 0.21),
    underruns=0,
    voices=0,
    shed=0,
    held=[],
    latents=[0.5] * 8,
    spans=[(0.0, 1.0)] * 8,
    peaks_db=(-math.inf, -math.inf),
    limited=0.0,
    presets={None: "gm-keys"},
    ports=["virtual"],
    last="",
)
BUSY = {
    "device": "a very long name of a sound card, as drivers like to give them " * 3,
    "measured_ms": 10.71,
    "load": (0.934, 12.5),
    "underruns": 123_456,
    "voices": 64,
    "shed": 99_999,
    "held": list(range(128)),
    "peaks_db": (0.0, 0.0),
    "limited": 1.0,
    "ports": ["a controller of eight knobs", "a keyboard of 88 keys", "a pad"] * 3,
    "age_ms": 123_456.7,
    "last": "CC 74 = 127 -> latent.0 = -12.3, effects.0.cutoff_frequency_hz = 1.23e+04, envelope.release_seconds = 30",
    "presets": {None: "the preset of a " + "long " * 30 + "name", 1: "gm-pad"},
}


def report(**changes):
    return LiveStatus(**{**vars(REPORT), **changes})


def drawn(*reports, said=(), told=(), piano=False, width=80, monkeypatch):
    """The lines of the page after these reports, as a terminal of some columns gets them."""
    from rich.console import Console

    full = FullScreen(Typist(piano))
    full.say("before anything is shown")
    for line in said:
        full.say(line)
    for lines in told:
        full.show_preset_lines(lines)
    monkeypatch.setattr(full._live, "start", lambda refresh=False: None)
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    for one in reports:
        full.show(one)
        out.truncate(out.seek(0))
        console.print(full._live.renderable)
    full._closing.pop_all()
    return out.getvalue().splitlines()


# ---- what is drawn


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("count", [2, 10, 40])
def test_no_report_moves_a_line_or_is_wider_or_higher_than_the_terminal(monkeypatch, width, count):
    latents = {"latents": [0.5] * count, "spans": [(0.0, 1.0)] * count}
    calm = drawn(report(**latents), width=width, monkeypatch=monkeypatch)
    words = ["the card has gone " * 20, "it is back"]
    busy = drawn(report(**BUSY, **latents), said=words, width=width, monkeypatch=monkeypatch)
    assert len(calm) == len(busy) <= 24
    assert [line[: screen.LABEL] for line in calm[1:-4]] == [line[: screen.LABEL] for line in busy[1:-4]]
    assert max(map(len, calm + busy)) <= min(WIDTH, width)


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_that_a_player_reads_is_cut_off_in_a_narrow_window(monkeypatch, width):
    last = "CC 74 = 127 -> latent.0 = -12.3, effects.0.cutoff_frequency_hz = 1.23e+04, gain"
    words = [
        "no MIDI port can be opened (MidiInJack::initialize: JACK server not running?); start JACK, or give --midi-api",
        "no right to realtime priority; join the group 'audio' and log in again (limits: rtprio 95)",
    ]
    shown = report(last=last, latents=[0.5] * 16, spans=[(0.0, 1.0)] * 16, peaks_db=(-3.0, -0.1), limited=0.34)
    lines = drawn(shown, said=words, width=width, monkeypatch=monkeypatch)
    text = " ".join(" ".join(lines).split())
    for whole in (last, *words, "instrument 1.5", "-0 dB, too loud: 34% limited"):
        assert whole in text
    assert [
        line for line in lines if "…" in line and not line.startswith("    card  48000 Hz, blocks of 128, system")
    ] == []
    assert text.count("+0.50") == 16


def test_the_screen_says_all_that_a_player_asks(monkeypatch):
    shown = report(
        measured_ms=10.7, held=[60, 64], voices=2, underruns=3, shed=1, peaks_db=(-6.2, -9.0), last="CC 7 = 9 -> volume"
    )
    text = "\n".join(drawn(shown, said=["no right to realtime priority"], monkeypatch=monkeypatch))
    for words in (
        "q quits",
        "48000 Hz, blocks of 128, system (JACK Audio Connection Kit)",
        "12.2 ms = card 2.7 + ring 5.3 + timing 2.7 + instrument 1.5",
        "10.7 ms",
        "8% of a block, p99  21%; underruns 3",
        "2  (1 given up)",
        "C4 E4",
        "-6 dB",
        "virtual",
        "CC 7 = 9 -> volume",
        "no right to realtime priority",
    ):
        assert words in text


def test_what_is_told_of_a_preset_clears_what_was_told_of_the_one_before_and_nothing_else(monkeypatch):
    refusal = "preset live.toml: unknown key 'pley'; did you mean 'play'?; the preset before plays on"
    told = [["its SHA-256 differs"], [refusal], ["preset 'live' is loaded", "it is soft"]]
    text = " ".join(drawn(REPORT, told=told[:2], monkeypatch=monkeypatch))
    assert "the preset before plays on" in text
    assert "differs" not in text
    last = drawn(REPORT, told=told, monkeypatch=monkeypatch)[-screen.MESSAGE_LINES :]
    assert [line.strip() for line in last] == ["before anything is shown", "preset 'live' is loaded", "it is soft", ""]


def test_presets_of_channels_are_told_behind_that_of_all_others(monkeypatch):
    shown = report(presets={None: "gm-keys", 1: "gm-pad", 15: "gm-hall"})
    assert dict(rows(shown))["preset"] == "gm-keys 2=gm-pad 16=gm-hall"
    assert "  preset gm-keys 2=gm-pad 16=gm-hall  " in summary(shown)


def test_the_screen_of_a_piano_says_how_to_play_and_that_esc_quits(monkeypatch):
    assert "Esc quits; a to p play" in drawn(REPORT, piano=True, monkeypatch=monkeypatch)[0]


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3, allow_subnormal=False)] * 3), max_size=40))
def test_latents_are_bars_within_their_spans(values):
    knobs = [(min(low, high), max(low, high), value) for low, high, value in values]
    shown = rows(report(latents=[k[2] for k in knobs], spans=[k[:2] for k in knobs]))
    text = " ".join(value for name, value in shown if name in ("latents", ""))
    bars = [part.split("]")[0] for part in text.split("[")[1:]]
    assert len(bars) == min(len(knobs), 16)
    for bar, (low, high, value) in zip(bars, knobs, strict=False):
        part = min(max((value - low) / (high - low), 0), 1) if high > low else 0
        assert len(bar) == screen.KNOB_WIDTH
        assert abs(bar.count("#") - part * screen.KNOB_WIDTH) <= 0.5 + 1e-6
    assert (f"and {len(knobs) - 16} more" in text) == (len(knobs) > 16)


NAMES = ["brightness", "", "noise", "odd partials", "fundamental", "presence", "air", "body"]


@pytest.mark.parametrize("width", [60, 80])
def test_knobs_and_macros_are_told_by_name_and_leave_room_for_the_rest(monkeypatch, width):
    macros = [("brighter", 0.5), ("rougher", 1.0)]
    lines = drawn(report(names=NAMES, macros=macros), width=width, monkeypatch=monkeypatch)
    text = "\n".join(lines)
    for words in ("brightness [##...] +0.50", " 1 [##...] +0.50", "noise [##...]", "brighter [##...] +0.50"):
        assert words in text
    assert "rougher [#####] +1.00" in text
    assert len(lines) <= 24
    assert "…" not in "".join(line for line in lines if "[" in line)
    many = report(names=NAMES * 5, latents=[0.5] * 40, spans=[(0.0, 1.0)] * 40, macros=macros * 8)
    assert len([line for line in rows(many, width) if line[0] in ("latents", "macros", "")]) <= 12


@pytest.mark.parametrize(("level", "lit"), [(float("-inf"), 0), (-48.0, 0), (-24.0, 8), (0.0, 16), (6.0, 16)])
def test_the_meter_spans_48_db(level, lit):
    assert dict(rows(report(peaks_db=(level, level - 6))))["level"].count("#") == lit


@pytest.mark.parametrize(("limited", "told"), [(0.0, False), (0.049, False), (0.051, True), (1.0, True)])
def test_only_a_limiter_that_works_hard_is_told_of(limited, told):
    busy = report(peaks_db=(-0.5, -0.5), limited=limited)
    assert ("too loud" in dict(rows(busy))["level"]) == told
    assert (f"peak -0 dB, too loud: {limited:.0%} limited  " in summary(busy)) == told


def test_plain_prints_a_line_a_second_and_words_on_stderr(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    plain = PlainScreen()
    for tick in range(31):
        now[0] = 100 + tick / 10
        plain.show(report(underruns=tick))
    plain.say("the card has gone")
    plain.show_preset_lines(["preset 'a' is loaded", "it is soft"])
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()] == [f"underruns {n}" for n in (0, 10, 20, 30)]
    assert printed.err == "the card has gone\npreset 'a' is loaded\nit is soft\n"
    assert plain.typed_keys() == []


def test_plain_lines_need_few_reports(timbrel, monkeypatch):
    """Each costs the sound's process a millisecond."""
    setups = []
    monkeypatch.setattr("timbrel.host.live.session.play", lambda setup, *_: setups.append(setup))
    assert timbrel("play", "gm-keys", "--null", "--plain").status == 0
    assert (
        setups[0].report_seconds == PlainScreen.report_seconds > FullScreen.report_seconds == Setup("p").report_seconds
    )


def test_a_summary_is_one_line_that_begins_with_underruns_and_ends_with_the_last_knob():
    line = summary(report(**BUSY))
    assert "\n" not in line
    assert line.startswith("underruns 123456  load 93% p99 1250%  voices 64  shed 99999  held 128  latency 12.2 ms  ")
    assert line.endswith(BUSY["last"])


# ---- where it is drawn


@pytest.mark.parametrize(
    ("term", "draws"), [("xterm-256color", True), ("dumb", False), ("", False), ("unknown", False)]
)
def test_a_dumb_terminal_gets_lines(monkeypatch, term, draws):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert screen.can_draw() is draws
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not screen.can_draw()


@contextlib.contextmanager
def on_a_terminal(*arguments, term="xterm"):
    """The command line on a terminal of its own: the end that types and reads, and the process."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "timbrel", *arguments],
        stdin=far,
        stdout=far,
        stderr=far,
        env={**os.environ, "TERM": term, "COLUMNS": "80", "LINES": "24"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(far)
    try:
        yield near, process
    finally:
        process.kill()
        process.wait()
        os.close(near)


def read_until(near, words, typing=b"", seconds=PATIENCE_SECONDS):
    """What the terminal got up to some words, while a key is typed again and again."""
    text, until = "", time.monotonic() + seconds
    while words not in text and time.monotonic() < until:
        os.write(near, typing)
        if select.select([near], [], [], 0.05)[0]:
            try:
                text += os.read(near, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
    assert words in text, text
    return text


def drained(near, process, seconds=PATIENCE_SECONDS):
    """How the process ends, while what it still says is read."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        if select.select([near], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                os.read(near, 65536)
    return process.poll()


@pytest.mark.parametrize(("term", "screen_of"), [("xterm", "Esc quits"), ("dumb", "underruns 0")])
def test_the_computers_keyboard_plays_and_esc_quits_on_a_terminal_without_a_card(term, screen_of):
    with on_a_terminal("play", "gm-keys", "--null", "--keys", term=term) as (near, process):
        text = read_until(near, screen_of)
        assert ("\x1b[" in text) == (term == "xterm")
        os.write(near, b"\x1b[A")  # an arrow, and a key
        read_until(near, "C4" if term == "xterm" else "held 1", b"a")
        os.write(near, b"\x1b")
        assert drained(near, process) == 0


def test_a_preset_that_is_edited_to_nonsense_is_told_and_once_it_is_mended_that_it_is_loaded(tmp_path):
    shipped = shipped_presets()["gm-keys"]
    mine = tmp_path / "mine.toml"
    mine.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    with on_a_terminal("play", str(mine), "--null", "--keys", "--plain") as (near, process):
        read_until(near, "preset mine")
        mine.write_text(mine.read_text(encoding="utf-8").replace("[play]", "[pley]"), encoding="utf-8")
        said = " ".join(read_until(near, "plays on").split())
        assert "unknown key 'pley'; did you mean 'play'?; the preset before plays on" in said
        read_until(near, "preset mine")
        mine.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
        read_until(near, "preset 'mine' is loaded")
        process.send_signal(signal.SIGINT)
        assert drained(near, process) == 0


# ---- advice


@pytest.mark.parametrize("device", ["WH-1000XM4 (bluez)", "John's AirPods Pro", "Headset Bluetooth (WASAPI)"])
def test_a_bluetooth_output_is_warned_of(device):
    [line] = session.bluetooth(device)
    assert line.startswith(device)
    assert "cable" in line


def test_a_wired_output_is_not_warned_of():
    assert session.bluetooth("HDA Intel PCH: ALC257 Analog (ALSA)") == []


@pytest.mark.parametrize(("governor", "told"), [("powersave", True), ("performance", False), ("schedutil", False)])
def test_a_processor_that_saves_power_is_told_with_the_remedy(monkeypatch, tmp_path, governor, told):
    (tmp_path / "governor").write_text(f"{governor}\n", encoding="ascii")
    monkeypatch.setattr(session, "GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr(session, "_may_hurry", lambda: True)
    assert [governor in line and "cpupower" in line for line in session.advice()] == ([True] if told else [])


def test_where_realtime_is_not_allowed_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(session, "GOVERNOR", tmp_path / "none")
    monkeypatch.setattr(session, "_may_hurry", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    [line] = session.advice()
    assert "realtime" in line
    assert "'audio'" in line


def test_the_delay_of_frames_that_are_made_ahead_is_shown():
    assert "ahead" not in summary(report())
    assert "delay" not in dict(rows(report()))
    assert "ahead 139 ms" in summary(report(ahead_ms=139.3))
    assert dict(rows(report(ahead_ms=139.3)))["delay"] == "a knob is heard 139 to 279 ms later"


def test_the_age_of_the_last_sound_is_shown_where_sounds_are_decoded_ahead():
    assert "age" not in summary(report())
    assert "age 12 ms" in summary(report(age_ms=12.3))
    assert dict(rows(report(age_ms=12.3)))["voices"] == " 0  (the last sound 12 ms old)"
