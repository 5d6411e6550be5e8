"""General MIDI level 1 percussion: MIDI keys by drum name."""

from ...errors import nearest

DRUMS = dict(
    enumerate(
        (
            "Acoustic Bass Drum",
            "Bass Drum 1",
            "Side Stick",
            "Acoustic Snare",
            "Hand Clap",
            "Electric Snare",
            "Low Floor Tom",
            "Closed Hi-Hat",
            "High Floor Tom",
            "Pedal Hi-Hat",
            "Low Tom",
            "Open Hi-Hat",
            "Low-Mid Tom",
            "Hi-Mid Tom",
            "Crash Cymbal 1",
            "High Tom",
            "Ride Cymbal 1",
            "Chinese Cymbal",
            "Ride Bell",
            "Tambourine",
            "Splash Cymbal",
            "Cowbell",
            "Crash Cymbal 2",
            "Vibraslap",
            "Ride Cymbal 2",
            "Hi Bongo",
            "Low Bongo",
            "Mute Hi Conga",
            "Open Hi Conga",
            "Low Conga",
            "High Timbale",
            "Low Timbale",
            "High Agogo",
            "Low Agogo",
            "Cabasa",
            "Maracas",
            "Short Whistle",
            "Long Whistle",
            "Short Guiro",
            "Long Guiro",
            "Claves",
            "Hi Wood Block",
            "Low Wood Block",
            "Mute Cuica",
            "Open Cuica",
            "Mute Triangle",
            "Open Triangle",
        ),
        start=35,
    )
)


def drum_key(name: str) -> int:
    """MIDI key of a drum, ignoring case; ValueError if unknown."""
    keys = {drum.casefold(): key for key, drum in DRUMS.items()}
    key = keys.get(" ".join(name.split()).casefold())
    if key is not None:
        return key
    if name.strip().isdecimal():
        raise ValueError(f"a number has no quotes: {int(name)}")
    hint = nearest(name.casefold(), keys)
    close = next((drum for drum in DRUMS.values() if repr(drum.casefold()) in hint), None)
    told = f"; did you mean {close!r}?" if close else ", such as 'Acoustic Snare'; or give a number, 0 to 127"
    raise ValueError(f"{name!r} is no drum of General MIDI{told}")
