"""Measures of whole clips: how far one sounds from another, and how like the recordings a set of them is."""
