"""File names tell layers and takes of one sound."""

import pytest
from timbrel.train.corpus.file_names import hit_layers, takes, velocities


@pytest.mark.parametrize(
    ("names", "sounds"),
    [
        (["snare_v1.wav", "snare_v2.wav", "kick_v1.wav", "kick_v2.wav"], ["snare", "snare", "kick", "kick"]),
        (["snare_pp", "snare_ff", "crash"], ["snare", "snare", None]),
        (["tom_v1_rr1", "tom_v1_rr2", "tom_v2_rr1", "tom_v2_rr2"], ["tom"] * 4),
        (["kick rr1", "kick rr2", "hat"], ["kick", "kick", None]),
        (["clap take 1", "clap-take2"], ["clap", "clap"]),
        (["a/kick_rr1.wav", "b/kick_rr2.wav"], [None, None]),
        (["snare-1", "snare-2"], [None, None]),
        (["snare_rr1", "kick_rr1"], [None, None]),
        (["arr1", "arr2"], [None, None]),
    ],
)
def test_layers_and_takes(names, sounds):
    velocity_by_name = velocities(names)
    found = takes({name: velocity_by_name.get(name) for name in names})
    assert [found.get(name) for name in names] == sounds


@pytest.mark.parametrize(
    ("names", "layers"),
    [
        (["kick_v1.wav", "kick_v2.wav", "kick_v3.wav", "Snare 1.wav", "hat.wav"], [42, 85, 127, None, None]),
        (["kick_v1", "kick_v2", "snare_v1", "snare_v2", "snare_v3"], [64, 127, 42, 85, 127]),
        (["kick_v1_rr1", "kick_v1_rr2", "kick_v2_rr1", "hat"], [64, 64, 127, None]),
        (["song_v1", "song_v2", "song_v3"], [None] * 3),  # versions
        (["kick_v1", "kick_v3", "hat"], [None] * 3),
        (["kick_v1", "hat_v2"], [None] * 2),
        (["a/kick_v1.wav", "b/kick_v2.wav", "hat.wav"], [None] * 3),
    ],
)
def test_a_single_hit_of_a_kit_may_have_layers(names, layers):
    found = hit_layers(names)
    assert [found.get(name) for name in names] == layers
