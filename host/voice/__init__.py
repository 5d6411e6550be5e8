"""The compiled voice core: its library, its tables, its networks."""
