"""Sequence family: recurrent networks that continue sound frame by frame."""
