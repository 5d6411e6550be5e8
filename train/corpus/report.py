"""Report of a corpus build: used and rejected files, and statistics."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ...host.errors import UserError, printable
from ...host.units import PITCH_CLASSES

Progress = Callable[[float, str], None]  # receives the completed share, 0 to 1, and a description

_MOST_NAMES = 20  # files of a kind listed by name; the rest are counted
_TONAL_SHARE = 0.01  # share of pitched sound below which a histogram would show tracking errors alone
_BAR_WIDTH = 32  # characters of the histogram's longest bar


class CorpusReport(BaseModel):
    """Counts, durations in seconds, and names of files that were excluded or need a check.

    ``pitch_classes`` are seconds for C, C#, … B. ``left_out`` counts sounds missing from a split file, ``labels`` clips
    by label ("" for none), ``rates`` files by Hz, ``stereo`` clips with two sides. ``identical`` maps files to an
    earlier one; ``repeated`` are hits that came before. ``misnamed`` maps files to the measured note; ``corrected``
    were measured octaves off; ``named`` take the note of their name. ``melodies`` maps recordings to their number of
    notes. ``unreadable``, ``remarks`` (files read despite a broken header, or channels in antiphase), ``doubtful`` and
    ``beatless`` map names to reasons.
    """

    model_config = ConfigDict(extra="forbid")

    clips: int = 0
    stereo: int = 0
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

    def count_clip(self, length: int, track: npt.NDArray[np.float32], rate: int, is_stereo: bool = False) -> None:
        self.clips += 1
        self.stereo += is_stereo
        self.seconds += length / rate
        self.count_pitch(track, length, rate)

    def count_pitch(self, track: npt.NDArray[np.float32], length: int, rate: int, sign: int = 1) -> None:
        """Count a clip's pitch track, or uncount it with ``sign`` -1."""
        voiced_notes = track[np.isfinite(track)]
        frame_seconds = sign * length / rate / len(track)
        self.pitched_seconds += len(voiced_notes) * frame_seconds
        self.unpitched_seconds += (len(track) - len(voiced_notes)) * frame_seconds
        class_frame_counts = np.bincount(np.round(voiced_notes).astype(int) % 12, minlength=12)
        self.pitch_classes = [
            seconds + int(count) * frame_seconds
            for seconds, count in zip(self.pitch_classes, class_frame_counts, strict=True)
        ]

    def count_file(self, name: str, rate: int, remarks: Sequence[str], clipped: bool) -> None:
        """Count a sound file whose clips are used."""
        self.rates[rate] = self.rates.get(rate, 0) + 1
        if remarks:
            self.remarks[name] = "; ".join(remarks)
        if clipped:
            self.clipped.append(name)

    def count_split(self, split: str, seconds: float) -> None:
        self.split_clips[split] = self.split_clips.get(split, 0) + 1
        self.split_seconds[split] = self.split_seconds.get(split, 0.0) + seconds

    def left_out_line(self) -> str:
        """Summarize unused sounds: ``"2 unreadable (a.wav: empty)"``; empty if none."""
        unreadable, beatless = (
            [f"{name}: {reason}" for name, reason in reasons.items()] for reasons in (self.unreadable, self.beatless)
        )
        names_by_kind = {"unreadable": unreadable, "silent": self.silent, "too short": self.too_short}
        names_by_kind["without a beat"] = beatless
        summaries = [f"{len(names)} {kind} ({names[0]})" for kind, names in names_by_kind.items() if names]
        if self.left_out:
            summaries.append(f"{self.left_out} not listed in the split file")
        return ", ".join(summaries)

    def text(self) -> str:
        lines = ["", f"clips       {self.clips:6}  {duration(self.seconds)}"]
        for split in ("train", "val", "test"):
            seconds = self.split_seconds.get(split, 0.0)
            lines.append(f"  {split:10}{self.split_clips.get(split, 0):6}  {duration(seconds)}")
        if self.stereo:
            lines += ["", f"stereo      {self.stereo:6}  of these clips"]
        rates = {f"{rate} Hz": count for rate, count in self.rates.items()}
        velocities = {f"velocity {velocity}": count for velocity, count in sorted(self.velocities.items())}
        sections = (
            ("dynamics", velocities, "by names or labels"),
            ("rates", rates if len(rates) > 1 else {}, "all made one"),
            ("silent", self.silent, ""),
            ("too short", self.too_short, ""),
            ("unreadable", self.unreadable, ""),
            ("remarks", self.remarks, "kept"),
            ("clipped", self.clipped, "kept"),
            ("identical", self.identical, "counted once"),
            ("repeated", self.repeated, "left out: an earlier one of this key differs in level alone"),
            ("misnamed", self.misnamed, "what is heard counts"),
            ("corrected", self.corrected, "octaves as their names say"),
            ("named", self.named, "without a pitch of their own, as their names say"),
        )
        lines += self._loop_lines()
        lines += _section_lines(
            ("melodies", {name: f"{count} notes" for name, count in self.melodies.items()}, "cut into notes")
        )
        lines += self._pitch_lines()
        lines += _section_lines(("labels", {label: count for label, count in self.labels.items() if label}, ""))
        if unlabelled := self.labels.get("", 0):
            lines += ["", f"no label    {unlabelled:6}  neither their names nor their data sets have one"]
        lines += _section_lines(*sections)
        if self.left_out:
            lines += ["", f"left out    {self.left_out:6}  not listed in the split file"]
        return "\n".join(lines[1:])

    def _loop_lines(self) -> list[str]:
        if self.grid_bpm is None:
            return []
        sections = (
            ("tempos", self.tempos, ""),
            ("doubtful", self.doubtful, "kept"),
            ("no beat", self.beatless, "left out"),
        )
        return ["", f"grid        {self.grid_bpm:6.2f}  bpm", *_section_lines(*sections)]

    def _pitch_lines(self) -> list[str]:
        total_seconds = max(self.seconds, 1e-9)
        lines = [
            "",
            f"pitched     {self.pitched_seconds / total_seconds:6.0%}  {duration(self.pitched_seconds)}",
            f"unpitched   {self.unpitched_seconds / total_seconds:6.0%}  {duration(self.unpitched_seconds)}",
        ]
        if self.pitched_seconds / total_seconds < _TONAL_SHARE:
            return lines
        longest_seconds = max(self.pitch_classes)
        lines.append("")
        for name, seconds in zip(PITCH_CLASSES, self.pitch_classes, strict=True):
            lines.append(
                f"  {name:2}{duration(seconds):>14}  {'=' * round(_BAR_WIDTH * seconds / longest_seconds)}".rstrip()
            )
        return lines


def no_progress(share: float, text: str) -> None:
    pass


class Unusable(UserError):
    """No sound can be used."""


def unusable(report: CorpusReport, sources: Sequence[object], needed: str) -> Unusable:
    """Return the error for sounds of which none can be used."""
    source_names, reasons = ", ".join(map(str, sources)), report.left_out_line()
    return Unusable(
        f"nothing in {source_names} can be used: {reasons}; a clip needs {needed} and a format that can be read"
    )


def _section_lines(*sections: tuple[str, Sequence[str] | Mapping[str, object], str]) -> list[str]:
    """Return lines of sections, (heading, names or remarks by name, note) each: the number of names, and the first."""
    lines: list[str] = []
    for heading, names, note in sections:
        entries = [f"{name}: {remark}" for name, remark in names.items()] if isinstance(names, Mapping) else names
        if entries:
            lines += ["", f"{heading:12}{len(entries):6}  {note}".rstrip()]
            lines += [f"  {printable(entry)}" for entry in entries[:_MOST_NAMES]]
        if len(entries) > _MOST_NAMES:
            lines.append(f"  and {len(entries) - _MOST_NAMES} more")
    return lines


def duration(seconds: float) -> str:
    """Format seconds as ``"59.9 s"`` or ``"10 h 02 min"``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {remainder:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
