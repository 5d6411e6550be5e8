"""File names of hits have the keys of their drums in General MIDI level 1."""

import pytest
from timbrel.host.kinds.general_midi_drums import DRUMS, hit_keys

# Names that the standard, drum machines (Roland TR-808 and TR-909, Linn), players (Hydrogen, TidalCycles' samples) and
# sample packs write, by the standard's keys.
NAMES = {
    35: "Acoustic Bass Drum",
    36: "kick, Kick-01, kicks, bass drum, BassDrum2, BD0025, KD, Kik, KickDrum, bassdrum, Bass Drum 1, 808 Kick Long",
    37: "side stick, SideStick, Rimshot, RS, RimShot, Xstick, XStick, x-stick, cross stick, crossstick, SS, Rim_3",
    38: "snare, SD-soft, Snr, snaredrum, SN, Acoustic Snare, Snares, Snare_OH, Snare Ch1",
    39: "hand clap, HandClap, Clp, CP, claps, Clap 909",
    40: "Electric Snare, ESnare, SnareElec",
    41: "floor tom, FloorTom, TomFl, Low Floor Tom, FT",
    42: "closed hat, HiHat_Closed, CHH, hh, CHat, ClosedHat, hihatclosed, HH Cl, hh_cl, CH, Hat, closedhihat, chat",
    43: "HighFloorTom, High Floor Tom",
    44: "pedal-hihat, PH, HatPedal, HHFoot, hh_ped, Pedal Hi-Hat",
    45: "low tom, Lo Tom, LTom, TomLow, LT, tom, lotom",
    46: "open hat, HatOpen, hi-hat open 2, OH75, OHat, HatO, hh_op, openhat, OHH, hhopen, OpHat, HatHalfOpen",
    47: "MidTom, MT, TomMid, Low-Mid Tom",
    48: "Hi-Mid Tom",
    49: "crash, cymbal_a, Cym, CY, CrashCymbal, Crsh",
    50: "high-tom, HiTom, HT, tomhi, HTom",
    51: "Ride, RideCymbal, ride cymbal, RD",
    52: "China, Chinese Cymbal",
    53: "ride bell, RideBell, ride_cup",
    54: "tambourine, tamb",
    55: "splash cymbal, Splash, Spl",
    56: "cowbell, CBell, CowBell, CB, cbell, Cow Bell",
    57: "Crash Cymbal 2",
    58: "Vibraslap, VibraSlap",
    59: "Ride Cymbal 2",
    60: "bongo, HiBongo, Bongo_H",
    61: "LoBongo, Low Bongo, BongoL",
    62: "HiConga, HC, CongaMute, Mute Hi Conga",
    63: "conga, MC, Open Hi Conga, CongaOpen",
    64: "LowConga, LC",
    65: "Timbale, timbales",
    66: "LowTimbale",
    67: "agogo, AgogoHi",
    68: "AgogoLow",
    69: "Cabasa",
    70: "shaker, Maracas, MA",
    71: "whistle, WhistleShort, Short Whistle",
    72: "WhistleLong, Long Whistle, whistle_l",
    73: "guiro, GuiroShort",
    74: "GuiroLong, long guiro, Guiro-L",
    75: "Claves, CL, clave",
    76: "WoodBlock, wood block hi",
    77: "LowWoodBlock, woodblock_lo",
    78: "CuicaMute, MuteCuica, cuica_m",
    79: "Cuica, CuicaOpen",
    80: "TriangleMute, mute triangle, TriMute, Triangle_Closed",
    81: "triangle, TriangleOpen, tri_open, Triangle Long",
}


@pytest.mark.parametrize(("key", "names"), NAMES.items())
def test_each_common_name_of_a_drum_has_its_key(key, names):
    assert {name: hit_keys([name]) for name in names.split(", ")} == {name: {name: key} for name in names.split(", ")}


def test_the_table_of_names_covers_all_drums_of_the_standard():
    assert set(NAMES) == set(DRUMS)
    assert sum(len(names.split(", ")) for names in NAMES.values()) >= 99
    assert hit_keys(DRUMS.values()) == {name: key for key, name in DRUMS.items()}


def test_names_of_parts_of_a_drum_go_beside_each_other():
    for pair in (("OHat", "CHat"), ("hato", "hatc"), ("hh_op", "hh_cl"), ("Hat Open", "Hat")):
        assert hit_keys(reversed(pair)) == dict(zip(pair, (46, 42), strict=True))
    assert hit_keys(["hat", "closed hat"]) == {"hat": 44, "closed hat": 42}
    assert hit_keys(["kick", "Bass Drum 1"]) == {"kick": 35, "Bass Drum 1": 36}
    assert hit_keys(["Triangle", "TriangleMute"]) == {"TriangleMute": 80, "Triangle": 81}
    assert hit_keys(["Guiro", "GuiroLong"]) == {"Guiro": 73, "GuiroLong": 74}
    assert hit_keys(["Snare", "SideStick", "Rim"]) == {"Snare": 38, "SideStick": 37}  # the rim's only key is taken


@pytest.mark.parametrize(
    "name",
    [
        "backside",
        "hattrick",
        "bass",
        "kickdrumless",
        "7",
        "",
        "chord",
        "och",
        "öch",
        "timpani",
        "seven",
        "stick",
        "phat",
    ],
)
def test_parts_of_words_and_other_words_are_no_drums(name):
    assert hit_keys([name]) == {}


def test_the_name_that_says_more_of_a_drum_chooses_its_key_first():
    assert hit_keys(["tom", "low tom"]) == {"low tom": 45, "tom": 47}
