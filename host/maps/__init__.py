"""Code maps: planes through a model's codes and their timbre."""
