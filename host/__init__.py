"""Host: plays models from events, without torch."""
