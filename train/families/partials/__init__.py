"""The partials family: decodes a code and a pitch to harmonics and bands of noise at the note's own pitch."""
