"""Models that predict successive frames: settings, the engine, seeds and the process that steps the model."""
