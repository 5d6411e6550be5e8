"""Arrangements: a performance, and the presets that play its channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .midi.performance import Performance
from .patch.library import Patch, open_patch
from .patch.recording_notes import differences, edits, read_notes
from .play.offline_preset_changes import Successor, successors
from .play.rack import as_played
from .render import programmed, remarks


@dataclass(frozen=True)
class Arrangement:
    """``patches``: at the start, by channel, 0 to 15. ``successors``: in order of time."""

    performance: Performance
    patches: Mapping[int, Patch]
    successors: Sequence[Successor] = ()
    warnings: tuple[str, ...] = ()


def arrange(
    performance: Performance,
    preset: Patch,
    source: str,
    channels: Mapping[int, str | None] | None = None,
    programs: Sequence[str] = (),
) -> Arrangement:
    """Choose the presets of channels; restore those of a recording by timbrel.

    Args:
        preset: plays all channels without their own.
        source: names the performance in warnings.
        channels: names of other presets by channel; None mutes one.
        programs: presets that program changes select, program 1 first.

    Raises:
        UserError: as `open_patch`, or the recording's notes are broken.
    """
    chosen = channels or {}
    performance = performance.without({number for number, name in chosen.items() if name is None})
    notes = read_notes(performance.notes, source)
    default = notes.fitting.fit(preset)
    others = {number: notes.fitting.fit(open_patch(name)) for number, name in chosen.items() if name is not None}
    by_channel = {number: others.get(number, default) for number in performance.channels}
    warnings = [
        *performance.warnings,
        *remarks(performance, default.name, others, bool(default.preset.keys), bool(programs)),
    ]
    if performance.recorded:
        warnings += [f"{source}: {line}" for line in edits(notes, default, others)]
        if programs:
            warnings.append(f"{source} holds the presets that its program changes chose; --set is passed over")
        given = {number + 1: patch.name for number, patch in others.items()}
        warnings += [f"{source}: {line}" for line in differences(notes.fitting, given)]
    warnings += [warning for patch in (default, *others.values()) for warning in patch.warnings]
    later: list[Successor] = []
    if performance.recorded:  # one preset played all channels without their own
        by_channel = as_played(default, others)
        later = successors(default, others, notes, lambda line: warnings.append(f"{source}: {line}"))
    elif programs:
        say = warnings.append
        by_channel, later = programmed(by_channel, performance.events, programs, lambda line: say(f"{source}: {line}"))
    return Arrangement(performance, by_channel, later, tuple(warnings))
