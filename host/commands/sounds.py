"""Commands that write sound files."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from ..preset.shipped import DEMO
from .options import (
    MODEL_HELP,
    PRESET_HELP,
    Channels,
    Overwrite,
    PresetName,
    Programs,
    Trust,
    channel_presets,
    known_names,
    opened_model,
    presets_in,
    warn,
    warn_of_folder,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..play.render import RenderOptions
    from ..preset.library import Patch
    from ..processors import FreeProcessors
    from ..progress import Display

commands = typer.Typer(rich_markup_mode=None)

MIDI_SUFFIXES = (".mid", ".midi", ".smf", ".rmi")
RATE_HELP = "Sampling rate of the output in Hz: 16000 to 96000"


class Phase(StrEnum):
    original = "original"
    own = "own"


class Way(StrEnum):
    linear = "linear"
    spherical = "spherical"
    dense = "dense"


@commands.command()
def demo(
    tune: Annotated[str, typer.Argument(help="A shipped preset, or five-systems: five presets in one tune.")] = DEMO,
    overwrite: Overwrite = False,
) -> None:
    """Render a shipped tune and its picture in this folder: demo.wav and demo.png, or those of the preset."""
    from ..errors import nearest
    from ..preset.shipped import PARTS, shipped_tunes
    from .demo import demo

    tune_files = shipped_tunes()
    if tune not in tune_files:
        raise UserError(f"no shipped preset is named {tune!r}{nearest(tune, list(tune_files))}")
    sound_file, picture_file = demo(Path(), tune, overwrite)
    parts_text = ", ".join(f"{channel}={preset}" for channel, preset in PARTS.get(tune, {}).items())
    print(f"{sound_file}: {parts_text or f'preset {tune}'} play{'' if parts_text else 's'} {tune_files[tune].name}")
    print(f"{picture_file}: its waveform, spectrum, notes and latent path")
    print("next: 'timbrel presets' lists what ships; 'timbrel render PRESET YOUR.mid -o OUT.wav' plays your own tune;")
    print("      'timbrel make YOUR_SOUNDS -o INSTRUMENT' makes an instrument of your own recordings")


@commands.command()
def process(
    sound: Annotated[Path, typer.Argument(help="A sound file.")],
    preset: Annotated[str, typer.Option(help=PRESET_HELP, autocompletion=known_names, callback=warn_of_folder)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    scale: Annotated[
        list[str] | None, typer.Option(help="How far codes go from the centre: S, or N=S for latent N.")
    ] = None,
    shift: Annotated[list[str] | None, typer.Option(help="What is added to latent N: N=V.")] = None,
    smooth: Annotated[float | None, typer.Option(help="Seconds in which codes follow the sound.")] = None,
    freeze: Annotated[float | None, typer.Option(min=0, help="Hold the code from this second on.")] = None,
    to: Annotated[str | None, typer.Option(help="Lead codes to a landmark's label, or to a preset.")] = None,
    amount: Annotated[float | None, typer.Option(help="How much of that way, 0 to 1.")] = None,
    midi: Annotated[Path | None, typer.Option(help="A MIDI file: keys choose the pitch, controllers turn.")] = None,
    phase: Annotated[Phase | None, typer.Option(help="The sound's own, or one of the voice's own.")] = None,
    wet: Annotated[float | None, typer.Option(help="How much of it went through the model, 0 to 1.")] = None,
    programs: Programs = None,
    rate: Annotated[int | None, typer.Option(help=f"{RATE_HELP}; the sound's own by default.")] = None,
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Send a sound through a model's encoder and decoder, its latents bent on the way."""
    from ..midi.files import read_performance
    from ..preset.library import open_patch
    from ..preset.plugin_consent import ask_for
    from ..progress import Display
    from ..resynthesis.process import process as send
    from ..resynthesis.process import with_options

    if rate is not None:
        _check_rate(rate)
    program_presets = presets_in(programs)
    ask_for([preset, *program_presets], trust)
    number_options = {"smooth_seconds": smooth, "amount": amount, "wet": wet}
    text_options = {"to": to, "phase": None if phase is None else phase.value}

    def open_preset(name: str) -> "Patch":
        return with_options(open_patch(name), scale or [], shift or [], number_options | text_options)

    patch = open_preset(preset)
    warn(patch.warnings)
    with Display() as display:
        display.stage("processing")
        outcome = send(
            sound,
            patch,
            output,
            sample_rate=rate,
            events=None if midi is None else lambda rate: read_performance(midi, rate).events,
            programs=program_presets,
            opening=open_preset,
            say=lambda line: display.say(f"warning: {line}"),
            freeze_seconds=freeze,
            overwrite=overwrite,
            progress=display.update,
        )
    print(f"{output}: {outcome.summary}")


@commands.command()
def morph(
    first: Annotated[Path, typer.Argument(help="A sound file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="How long the note is held.")] = 8.0,
    way: Annotated[Way, typer.Option(help="dense: by way of training codes.")] = Way.linear,
    key: Annotated[
        int | None, typer.Option(min=0, max=127, help="The MIDI note; that of the first sound by default.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the way among the training codes: a .png.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Play the way from one sound's timbre to another's, as one held note."""
    from ..progress import Display
    from ..resynthesis.morph import morph as play_way

    with Display() as display:
        display.stage("morphing")
        morphed = play_way(
            first,
            second,
            opened_model(model),
            output,
            way=way.value,
            seconds=seconds,
            key=key,
            picture=picture,
            overwrite=overwrite,
            progress=display.update,
        )
    warn(morphed.warnings)
    print(morphed.summary)


def _check_rate(rate: int) -> None:
    from ..play.render import RATES

    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"--rate {rate} is out of range; give {RATES[0]} to {RATES[1]} Hz")


@commands.command()
def render(
    preset: PresetName,
    midi: Annotated[list[Path], typer.Argument(help="A MIDI file; several, or a folder of them.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg; of several a folder, of .wav files.")
    ],
    rate: Annotated[int, typer.Option(help=f"{RATE_HELP}.")] = 44100,
    channel: Channels = None,
    tail: Annotated[float, typer.Option(min=0, max=600, help="The longest that sound may ring on, in seconds.")] = 30.0,
    programs: Programs = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Bring the true peak of the loudest file written to -1 dBFS.")
    ] = False,
    stems: Annotated[bool, typer.Option("--stems", help="Also write one file a MIDI channel.")] = False,
    as_float: Annotated[bool, typer.Option("--float", help="A .wav of 32-bit float: the samples as they are.")] = False,
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Play a MIDI file into a sound file, or several into a folder."""
    from ..processors import FreeProcessors

    free_processors = FreeProcessors()  # counts while the rest is imported and opened
    from ..play.render import RenderOptions
    from ..preset.library import open_patch
    from ..preset.plugin_consent import ask_for
    from ..progress import Display

    _check_rate(rate)
    names_by_channel, program_presets = channel_presets(channel or []), presets_in(programs)
    ask_for([preset, *filter(None, names_by_channel.values()), *program_presets], trust)
    render_options = RenderOptions(rate, tail, stems, normalise, as_float, overwrite)
    patch, file_pairs = open_patch(preset), _midi_files(midi, output, render_options)
    written_files: list[Path] = []
    try:
        with Display() as display:
            for file_number, (tune_file, sound_file) in enumerate(file_pairs, 1):
                display.stage("rendering" if len(file_pairs) == 1 else f"rendering {file_number} of {len(file_pairs)}")
                written_files += _rendered(
                    patch,
                    tune_file,
                    sound_file,
                    names_by_channel,
                    program_presets,
                    render_options,
                    display,
                    free_processors,
                )
    finally:  # those before an error or Ctrl-C are whole
        if written_files:
            print(*written_files, sep="\n")


def _is_tune(path: Path) -> bool:
    return path.suffix.lower() in MIDI_SUFFIXES and path.name[0] != "."


def _midi_files(midi_paths: list[Path], output: Path, options: "RenderOptions") -> list[tuple[Path, Path]]:
    """Return MIDI files, each with the sound file to write. Several were read once: none stops in the middle."""
    from ..files import check_output
    from ..midi.files import read_performance
    from ..preset.recording_notes import read_notes

    if len(midi_paths) == 1 and not midi_paths[0].is_dir():
        return [(midi_paths[0], output)]
    tune_files = [
        file for path in midi_paths for file in (sorted(filter(_is_tune, path.iterdir())) if path.is_dir() else [path])
    ]
    subfolders = {tune.parent for path in midi_paths for tune in path.glob("*/*") if _is_tune(tune)} - {*midi_paths}
    warn(f"the MIDI files in {folder} are not rendered; name this folder, too" for folder in sorted(subfolders))
    if not tune_files:
        raise UserError(f"no MIDI files (.mid) in {', '.join(map(str, midi_paths))}; give some, or a folder of them")
    for tune_file in tune_files:
        read_notes(read_performance(tune_file, options.sample_rate).notes, str(tune_file))
    file_stems = [tune_file.stem for tune_file in tune_files]
    folded_stems = [stem.casefold() for stem in file_stems]
    if duplicate_stems := [stem for stem in file_stems if folded_stems.count(stem.casefold()) > 1]:
        raise UserError(
            f"two of the files are named {duplicate_stems[0]}; render them one by one, into different folders"
        )
    if stem_clashes := [
        folded_stem
        for folded_stem in folded_stems
        if options.stems and any(folded_stem.startswith(f"{base_stem}-ch") for base_stem in folded_stems)
    ]:
        raise UserError(
            f"{stem_clashes[0]} may be a stem of another file; render them one by one, into different folders"
        )
    if output.suffix and not output.is_dir():
        raise UserError(f"-o {output}: several files are rendered into a folder; give its name, without a suffix")
    try:
        output.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {output}: {error.strerror}; give another place") from None
    sound_files = [output / f"{stem}.wav" for stem in file_stems]
    for sound_file in sound_files:
        check_output(sound_file, options.overwrite)
    return list(zip(tune_files, sound_files, strict=True))


def _rendered(
    preset: "Patch",
    tune_file: Path,
    sound_file: Path,
    names_by_channel: "Mapping[int, str | None]",
    program_presets: "Sequence[str]",
    options: "RenderOptions",
    display: "Display",
    free_processors: "FreeProcessors",
) -> list[Path]:
    """Render a MIDI file, and return the files that were written."""
    from ..midi.files import read_performance
    from ..play.render import arrange, render, worth_sharing
    from ..play.voices import PARTS

    arranged = arrange(
        read_performance(tune_file, options.sample_rate),
        preset,
        str(tune_file),
        options.sample_rate,
        names_by_channel,
        program_presets,
    )
    performance = arranged.performance
    for line in arranged.warnings:
        display.say(f"warning: {line}")
    process_count = 1
    if worth_sharing(performance, options.sample_rate):
        process_count = min(PARTS, free_processors.count())
    return render(
        arranged.patches,
        performance,
        sound_file,
        **options._asdict(),
        processes=process_count,
        omni=performance.recorded,
        successors=arranged.successors,
        progress=display.update,
        say=lambda line: display.say(f"warning: {line}"),
    )
