"""The grain family."""
