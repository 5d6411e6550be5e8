"""Host: plays models from events, without torch. Lower modules never import higher ones: see CONTRIBUTING.md."""
