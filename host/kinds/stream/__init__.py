"""Models that predict successive frames."""
