"""What a model file promises, and holding it to that."""
