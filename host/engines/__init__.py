"""The engines that sound models: one for each kind."""
