"""Models that predict frame after frame: settings, the engine, seeds and the process that steps the model."""
