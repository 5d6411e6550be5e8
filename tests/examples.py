"""Fewer examples, for property tests whose examples take long."""

from hypothesis import settings

few = settings(max_examples=settings().max_examples // 5)
