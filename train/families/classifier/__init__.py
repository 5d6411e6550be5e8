"""The classifier family: networks that recognise labelled clips."""
