"""Networks that recognise labelled clips."""
