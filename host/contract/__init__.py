"""Model files: decoders, encoders, cards, gestures, maps, and their parity checks."""
