"""A kind of these tests alone: frames that follow from one another."""
