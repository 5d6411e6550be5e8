"""Measures morphs of two recordings of a kit in 21 steps: the largest step beside the median, for three ways.

python tests/bench/recording_morph.py INSTRUMENT [--pairs N]
"""

import argparse
import dataclasses
import itertools
import math
import time

import numpy as np
from timbrel.export.fidelity.dynamics import performed_sides
from timbrel.host.engines.clip.clip_cache import RecordingMorph, SingleClipDecoder
from timbrel.host.engines.clip.morph import delay_recording
from timbrel.host.engines.clip.recorded import code_between
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.kinds.clip import KeySettings
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.motions import MorphSettings
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel
from timbrel.train.metrics.clips import attack_seconds

STEPS = 20
SEED = 0  # of the pairs
BELOW_LIMITER_DB = -12.0


def crossfade(decoder, pair, share, sides):
    """Two sounds, with their onsets together."""
    recorded = decoder._recorded
    onsets, shape = [recorded._onset(index) for index in pair], recorded.morph_shape(*pair)
    shape = shape[0], max(shape[1], *(side.shape[1] + abs(onsets[1] - onsets[0]) for side in sides))
    onset = round((1 - share) * onsets[0] + share * onsets[1])
    first, second = (delay_recording(side, onset - own, shape, 0) for side, own in zip(sides, onsets, strict=True))
    return math.cos(share * math.pi / 2) * first + math.sin(share * math.pi / 2) * second


def by_recordings(decoder, pair, share, codes):
    sides = decoder.clip(0, code_between(*codes, share), RecordingMorph(*pair, share)).sides
    return np.stack([side.samples for side in sides])


def by_shares(decoder, pair, share, codes):
    """As by recordings, at the share itself."""
    decoder._recorded._even_share = lambda first, second, position: position
    return by_recordings(decoder, pair, share, codes)


def by_network(decoder, pair, share, codes):
    """Both recordings moved to the code between theirs by the decoder's ratios, however far, and crossfaded."""
    decoder._recorded._decoded_share = lambda code: 0.0
    code, recorded = code_between(*codes, share), decoder._recorded
    sides = [recorded.bent(index, code, decoder._decoder_of(index)) for index in pair]
    return crossfade(decoder, pair, share, sides)


def by_levels(decoder, pair, share, codes):
    return crossfade(decoder, pair, share, [decoder.model.recordings.sides(index) for index in pair])


def steps_of(sounds, rate):
    """Log-mel distances of successive sounds in dB, the larger of both directions."""
    length = max(sound.shape[1] for sound in sounds)
    clips = np.stack([np.pad(sound[0], (0, length - sound.shape[1])) for sound in sounds]).astype(np.float32)
    levels = log_mel(clips, rate)
    both = [distance_db(one, other) for one, other in ((levels[:-1], levels[1:]), (levels[1:], levels[:-1]))]
    return np.maximum(*both), attack_seconds(clips, rate)


def ends_off(patch, pair):
    """Log-mel distances in dB of a key at both ends of its morph from the two recordings, played."""
    model, rate, found = patch.model, patch.model.card.sample_rate, []
    names = [model.card.recordings[index].name for index in pair]
    for position, index in enumerate(pair):
        target = model.recordings.sides(index)
        keys = [KeySettings(key=60, recording=names[0], morph_to=names[1], gain_db=BELOW_LIMITER_DB)]
        changes = {"keys": keys, "morph": MorphSettings(position=float(position))}
        played_patch = dataclasses.replace(patch, preset=patch.preset.model_copy(update=changes))
        length = target.shape[1]
        played = performed_sides(played_patch, [NoteOn(0, 0, 60, 127), NoteOff(length, 0, 60)], length)
        pair_levels = log_mel(np.stack([target[0], played[0]]).astype(np.float32), rate)
        found.append(float(distance_db(pair_levels[:1], pair_levels[1:])[0]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("instrument", help="a preset or folder whose keys play recordings")
    parser.add_argument("--pairs", type=int, default=40)
    arguments = parser.parse_args()
    patch = open_patch(arguments.instrument)
    model, rate = patch.model, patch.model.card.sample_rate
    all_pairs = list(itertools.permutations(range(len(model.card.recordings)), 2))
    chosen = np.random.default_rng(SEED).choice(len(all_pairs), min(arguments.pairs, len(all_pairs)), replace=False)
    pairs = [all_pairs[number] for number in chosen]
    ends = [off for pair in pairs for off in ends_off(patch, pair)]
    print(f"{len(pairs)} pairs; at both ends, from the recordings: worst {max(ends):.2f} dB")
    for way in (by_recordings, by_shares, by_network, by_levels):
        decoder, ratios, jumps, steps_db, seconds = SingleClipDecoder(model), [], [], [], []
        for pair in pairs:
            codes = [np.array(model.card.recordings[index].latent, np.float32) for index in pair]
            begun = time.process_time()
            between = [way(decoder, pair, step / STEPS, codes) for step in range(1, STEPS)]
            seconds.append((time.process_time() - begun) / (STEPS - 1))
            sounds = [model.recordings.sides(pair[0]), *between, model.recordings.sides(pair[1])]
            found, attacks = steps_of(sounds, rate)
            ratios.append(found.max() / np.median(found))
            steps_db.append(np.median(found))
            jumps.append(1000 * np.abs(np.diff(attacks)).max())
        print(
            f"{way.__name__:<14} largest step / median step: median {np.median(ratios):5.2f}, nine of ten below "
            f"{np.quantile(ratios, 0.9):5.2f}, most {max(ratios):5.2f}, over 2 in {np.mean(np.array(ratios) > 2):4.0%};"
            f" a step {np.median(steps_db):.2f} dB; attack moves {np.median(jumps):.0f} ms a step at most; "
            f"{1000 * np.median(seconds):.0f} ms a clip"
        )


if __name__ == "__main__":
    main()
