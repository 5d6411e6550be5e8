"""Report of a corpus build: used and rejected files, and statistics."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ...host.errors import UserError
from ...host.units import PITCH_CLASSES

Progress = Callable[[float, str], None]  # receives the completed share, 0 to 1, and a description

_NAMED = 20  # files of a kind listed by name; the rest are counted
_TONAL = 0.01  # share of pitched sound below which a histogram would show tracking errors alone
_BAR = 32  # characters of the histogram's longest bar


class CorpusReport(BaseModel):
    """Counts, durations in seconds, and names of files that were excluded or need a check.

    ``pitch_classes`` are seconds for C, C#, … B. ``left_out`` counts sounds missing from a split file, ``labels`` clips
    by label ("" for none), ``rates`` files by Hz. ``identical`` maps files to an earlier one; ``repeated`` are hits
    that came before. ``misnamed`` maps files to the measured note; ``corrected`` were measured octaves off; ``named``
    take the note of their name. ``melodies`` maps recordings to their number of notes. ``unreadable``, ``remarks``
    (files read despite a broken header, or channels in antiphase), ``doubtful`` and ``beatless`` map names to reasons.
    """

    model_config = ConfigDict(extra="forbid")

    clips: int = 0
    seconds: float = 0.0
    split_clips: dict[str, int] = {}
    split_seconds: dict[str, float] = {}
    pitched_seconds: float = 0.0
    unpitched_seconds: float = 0.0
    pitch_classes: list[float] = [0.0] * 12
    silent: list[str] = []
    too_short: list[str] = []
    unreadable: dict[str, str] = {}
    remarks: dict[str, str] = {}
    clipped: list[str] = []
    left_out: int = 0
    labels: dict[str, int] = {}
    velocities: dict[int, int] = {}
    rates: dict[int, int] = {}
    identical: dict[str, str] = {}
    repeated: list[str] = []
    misnamed: dict[str, str] = {}
    corrected: dict[str, str] = {}
    named: dict[str, str] = {}
    melodies: dict[str, int] = {}
    tempos: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    beatless: dict[str, str] = {}
    grid_bpm: float | None = None

    def count_clip(self, length: int, track: npt.NDArray[np.float32], rate: int) -> None:
        self.clips += 1
        self.seconds += length / rate
        self.count_pitch(track, length, rate)

    def count_pitch(self, track: npt.NDArray[np.float32], length: int, rate: int, sign: int = 1) -> None:
        """Count a clip's pitch track, or uncount it with ``sign`` -1."""
        voiced = track[np.isfinite(track)]
        frame_seconds = sign * length / rate / len(track)
        self.pitched_seconds += len(voiced) * frame_seconds
        self.unpitched_seconds += (len(track) - len(voiced)) * frame_seconds
        frames = np.bincount(np.round(voiced).astype(int) % 12, minlength=12)
        self.pitch_classes = [
            have + int(more) * frame_seconds for have, more in zip(self.pitch_classes, frames, strict=True)
        ]

    def count_split(self, split: str, seconds: float) -> None:
        self.split_clips[split] = self.split_clips.get(split, 0) + 1
        self.split_seconds[split] = self.split_seconds.get(split, 0.0) + seconds

    def left_out_line(self) -> str:
        """Summarize unused sounds: ``"2 unreadable (a.wav: empty)"``; empty if none."""
        unreadable = [f"{name}: {reason}" for name, reason in self.unreadable.items()]
        kinds = {"unreadable": unreadable, "silent": self.silent, "too short": self.too_short}
        kinds["without a beat"] = [f"{name}: {reason}" for name, reason in self.beatless.items()]
        parts = [f"{len(names)} {kind} ({names[0]})" for kind, names in kinds.items() if names]
        if self.left_out:
            parts.append(f"{self.left_out} not listed in the split file")
        return ", ".join(parts)

    def text(self) -> str:
        lines = ["", f"clips       {self.clips:6}  {duration(self.seconds)}"]
        for split in ("train", "val", "test"):
            seconds = self.split_seconds.get(split, 0.0)
            lines.append(f"  {split:10}{self.split_clips.get(split, 0):6}  {duration(seconds)}")
        lines += self._loop_lines()
        lines += _named(
            "melodies", [f"{name}: {count} notes" for name, count in self.melodies.items()], "cut into notes"
        )
        lines += self._pitch_lines()
        lines += self._label_lines()
        marked = [f"velocity {velocity}: {count}" for velocity, count in sorted(self.velocities.items())]
        lines += _named("dynamics", marked, "by their names")
        if len(self.rates) > 1:
            lines += _named("rates", [f"{rate} Hz: {count}" for rate, count in self.rates.items()], "all made one")
        lines += _named("silent", self.silent)
        lines += _named("too short", self.too_short)
        lines += _named("unreadable", [f"{name}: {reason}" for name, reason in self.unreadable.items()])
        lines += _named("remarks", [f"{name}: {remark}" for name, remark in self.remarks.items()], "kept")
        lines += _named("clipped", self.clipped, note="kept")
        lines += _named("identical", [f"{name}: {first}" for name, first in self.identical.items()], "counted once")
        lines += _named("repeated", self.repeated, note="left out: an earlier one of this key differs in level alone")
        lines += _named(
            "misnamed", [f"{name}: {heard}" for name, heard in self.misnamed.items()], "what is heard counts"
        )
        told = [f"{name}: {note}" for name, note in self.corrected.items()]
        lines += _named("corrected", told, "octaves as their names say")
        told = [f"{name}: {note}" for name, note in self.named.items()]
        lines += _named("named", told, "without a pitch of their own, as their names say")
        if self.left_out:
            lines += ["", f"left out    {self.left_out:6}  not listed in the split file"]
        return "\n".join(lines[1:])

    def _loop_lines(self) -> list[str]:
        if self.grid_bpm is None:
            return []
        lines = ["", f"grid        {self.grid_bpm:6.2f}  bpm"]
        lines += _named("tempos", [f"{name}: {found}" for name, found in self.tempos.items()])
        lines += _named("doubtful", [f"{name}: {why}" for name, why in self.doubtful.items()], "kept")
        lines += _named("no beat", [f"{name}: {why}" for name, why in self.beatless.items()], "left out")
        return lines

    def _label_lines(self) -> list[str]:
        named = [f"{label}: {count}" for label, count in self.labels.items() if label]
        lines = _named("labels", named)
        if without := self.labels.get("", 0):
            lines += ["", f"no label    {without:6}  their names do not match"]
        return lines

    def _pitch_lines(self) -> list[str]:
        whole = max(self.seconds, 1e-9)
        lines = [
            "",
            f"pitched     {self.pitched_seconds / whole:6.0%}  {duration(self.pitched_seconds)}",
            f"unpitched   {self.unpitched_seconds / whole:6.0%}  {duration(self.unpitched_seconds)}",
        ]
        if self.pitched_seconds / whole < _TONAL:
            return lines
        most = max(self.pitch_classes)
        lines.append("")
        for name, seconds in zip(PITCH_CLASSES, self.pitch_classes, strict=True):
            lines.append(f"  {name:2}{duration(seconds):>14}  {'=' * round(_BAR * seconds / most)}".rstrip())
        return lines


def no_progress(share: float, text: str) -> None:
    pass


class Unusable(UserError):
    """No sound can be used."""


def unusable(report: CorpusReport, sources: Sequence[Path], needed: str) -> Unusable:
    where, why = ", ".join(map(str, sources)), report.left_out_line()
    return Unusable(f"nothing in {where} can be used: {why}; a clip needs {needed} and a format that can be read")


def _named(kind: str, names: Sequence[str], note: str = "") -> list[str]:
    if not names:
        return []
    lines = ["", f"{kind:12}{len(names):6}  {note}".rstrip(), *(f"  {name}" for name in names[:_NAMED])]
    if len(names) > _NAMED:
        lines.append(f"  and {len(names) - _NAMED} more")
    return lines


def duration(seconds: float) -> str:
    """Format seconds as ``"59.9 s"`` or ``"10 h 02 min"``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
