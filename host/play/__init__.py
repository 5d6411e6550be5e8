"""The machine that plays: events in, voices, sums and gains out, at any rate and through effects."""
