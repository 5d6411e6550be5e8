"""Loops family: networks that continue loops slice by slice."""
