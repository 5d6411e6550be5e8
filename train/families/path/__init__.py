"""Networks that walk through the code space of grains."""
