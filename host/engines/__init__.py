"""One engine a kind of model."""
