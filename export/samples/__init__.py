"""Samples of notes: labelled data sets by the million, and instruments for samplers."""
