"""A variational autoencoder of log-mel frames, and the engine that plays them."""
