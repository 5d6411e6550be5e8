"""Measures distances of a kit's keys from its recordings, at rest and moved to the code of another, and their cost.

python tests/bench/kit.py INSTRUMENT
"""

import argparse
import itertools
import time

import numpy as np
from timbrel.export.fidelity.dynamics import performed_sides
from timbrel.host.engines.clip.clip_cache import SingleClipDecoder
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.kinds.clip import hits
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel
from timbrel.train.metrics.clips import attack_seconds

KNOBS = 3


def off(sound, target, rate):
    """Log-mel distance in dB, and attack error in ms, of one side from another."""
    length = max(len(sound), len(target))
    pair = np.stack([np.pad(each, (0, length - len(each))) for each in (target, sound)])
    levels, attacks = log_mel(pair, rate), attack_seconds(pair, rate)
    return float(distance_db(levels[:1], levels[1:])[0]), 1000 * abs(float(attacks[1] - attacks[0]))


def told(name, rows):
    distances, attacks = np.array(rows).T
    distance_text = f"{np.median(distances):6.2f} {distances.max():6.2f} dB"
    print(f"{name:<46}{distance_text}   {np.median(attacks):5.1f} {attacks.max():5.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("instrument", help="a preset or folder whose keys play recordings")
    patch = open_patch(parser.parse_args().instrument)
    model, rate = patch.model, patch.model.card.sample_rate
    kit = {key: found[0] for key, found in hits(patch.preset.keys, model.card).items() if len(found) == 1}
    kit = {key: hit for key, hit in kit.items() if hit.recording is not None}
    recordings = {hit.recording: model.recordings.sides(hit.recording) for hit in kit.values()}
    print(f"{len(kit)} keys; medians and worst: log-mel distance, attack")

    rows = []
    for key, hit in kit.items():
        length = recordings[hit.recording].shape[1]
        played = performed_sides(patch, [NoteOn(0, 0, key, 127), NoteOff(length, 0, key)], length)
        sides = np.broadcast_to(recordings[hit.recording], (2, length))
        rows += [off(sound, side, rate) for sound, side in zip(played, sides, strict=True)]
    told("at rest, from its recording", rows)

    decoder = SingleClipDecoder(model)
    codes = {index: np.array(model.card.recordings[index].latent, np.float32) for index in recordings}
    labels = {hit.recording: hit.label or 0 for hit in kit.values()}
    own = [off(decoder.clip(labels[index], codes[index]).samples, recordings[index][0], rate) for index in recordings]
    told("the network alone, from the recording", own)
    pairs = list(itertools.permutations(recordings, 2))
    told("recordings, from each other", [off(recordings[a][0], recordings[b][0], rate) for a, b in pairs])
    moved = {"spectra and loudness": [], "spectra": []}
    for name, found in moved.items():
        decoder._recorded._has_levels = name == "spectra and loudness"
        decoder._recorded._decoded_share = lambda code: 0.0  # however far
        for a, b in pairs:
            found.append(off(decoder.clip(labels[a], codes[b], a).samples, recordings[b][0], rate))
        told(f"moved to another's code, {name}", found)

    decoder, turned = SingleClipDecoder(model), []
    for index, number, direction in itertools.product(codes, range(KNOBS), (-1, 1)):
        code = codes[index].copy()
        code[number] += direction * model.card.latents[number].std
        turned.append(off(decoder.clip(labels[index], code, index).samples, recordings[index][0], rate))
    told(f"one of the first {KNOBS} knobs turned by a deviation", turned)

    times = {"recording": [], "network alone": []}
    for index, (name, found) in itertools.product(codes, times.items()):
        for step in (1e-3, 2e-3, 3e-3):
            begun = time.perf_counter()
            decoder.clip(labels[index], codes[index] + np.float32(step), index if name == "recording" else None)
            found.append(time.perf_counter() - begun)
    print(
        "a moved clip takes " + ", ".join(f"{1000 * np.median(found):.0f} ms ({name})" for name, found in times.items())
    )


if __name__ == "__main__":
    main()
