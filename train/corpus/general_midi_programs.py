"""General MIDI's instruments by program from 0, and labels of its drums by key.

(MIDI Manufacturers Association, GM level 1 sound set.)
"""

PROGRAM_NAMES = (
    *("Acoustic Grand Piano", "Bright Acoustic Piano", "Electric Grand Piano", "Honky-tonk Piano"),
    *("Electric Piano 1", "Electric Piano 2", "Harpsichord", "Clavinet"),
    *("Celesta", "Glockenspiel", "Music Box", "Vibraphone", "Marimba", "Xylophone", "Tubular Bells", "Dulcimer"),
    *("Drawbar Organ", "Percussive Organ", "Rock Organ", "Church Organ"),
    *("Reed Organ", "Accordion", "Harmonica", "Tango Accordion"),
    *("Nylon Guitar", "Steel Guitar", "Jazz Guitar", "Clean Guitar"),
    *("Muted Guitar", "Overdriven Guitar", "Distortion Guitar", "Guitar Harmonics"),
    *("Acoustic Bass", "Finger Bass", "Pick Bass", "Fretless Bass"),
    *("Slap Bass 1", "Slap Bass 2", "Synth Bass 1", "Synth Bass 2"),
    *("Violin", "Viola", "Cello", "Contrabass", "Tremolo Strings", "Pizzicato Strings", "Orchestral Harp", "Timpani"),
    *("String Ensemble 1", "String Ensemble 2", "Synth Strings 1", "Synth Strings 2"),
    *("Choir Aahs", "Voice Oohs", "Synth Voice", "Orchestra Hit"),
    *("Trumpet", "Trombone", "Tuba", "Muted Trumpet", "French Horn", "Brass Section", "Synth Brass 1", "Synth Brass 2"),
    *("Soprano Sax", "Alto Sax", "Tenor Sax", "Baritone Sax", "Oboe", "English Horn", "Bassoon", "Clarinet"),
    *("Piccolo", "Flute", "Recorder", "Pan Flute", "Blown Bottle", "Shakuhachi", "Whistle", "Ocarina"),
    *("Square Lead", "Sawtooth Lead", "Calliope Lead", "Chiff Lead"),
    *("Charang Lead", "Voice Lead", "Fifths Lead", "Bass and Lead"),
    *("New Age Pad", "Warm Pad", "Polysynth Pad", "Choir Pad", "Bowed Pad", "Metallic Pad", "Halo Pad", "Sweep Pad"),
    *("Rain", "Soundtrack", "Crystal", "Atmosphere", "Brightness", "Goblins", "Echoes", "Sci-fi"),
    *("Sitar", "Banjo", "Shamisen", "Koto", "Kalimba", "Bagpipe", "Fiddle", "Shanai"),
    *("Tinkle Bell", "Agogo", "Steel Drums", "Woodblock", "Taiko Drum", "Melodic Tom", "Synth Drum", "Reverse Cymbal"),
    *(
        "Guitar Fret Noise",
        "Breath Noise",
        "Seashore",
        "Bird Tweet",
        "Telephone Ring",
        "Helicopter",
        "Applause",
        "Gunshot",
    ),
)

_CLASSES = {
    "kick": (35, 36),
    "side stick": (37,),
    "snare": (38, 40),
    "clap": (39,),
    "tom": (41, 43, 45, 47, 48, 50),
    "closed hat": (42, 44),
    "open hat": (46,),
    "crash": (49, 52, 55, 57),
    "ride": (51, 53, 59),
    "cowbell": (56,),
    "vibraslap": (58,),
    "hand drum": (60, 61, 62, 63, 64, 65, 66),
    "agogo": (67, 68),
    "shaker": (54, 69, 70),
    "whistle": (71, 72),
    "guiro": (73, 74),
    "wood block": (75, 76, 77),
    "cuica": (78, 79),
    "triangle": (80, 81),
}
DRUM_CLASSES = {key: name for name, keys in _CLASSES.items() for key in keys}
# General MIDI 2's sound set: the brush kit has a slap on the clap's key, the orchestra kit timpani and concert cymbals.
_OTHERWISE = {
    range(40, 48): {39: "snare"},
    range(48, 56): dict.fromkeys(range(41, 54), "timpani") | {59: "crash"},
}


def drum_class(kit: int, key: int) -> str:
    """Return a key's kind of drum."""
    return next((drums[key] for kits, drums in _OTHERWISE.items() if kit in kits and key in drums), DRUM_CLASSES[key])
