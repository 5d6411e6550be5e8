"""Model files: decoders, encoders, cards, gestures, maps and packs."""
