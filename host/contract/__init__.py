"""Model files: decoders, encoders, cards, gestures and maps."""
