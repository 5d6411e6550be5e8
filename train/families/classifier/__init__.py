"""Classifier family: networks that recognise labelled clips."""
