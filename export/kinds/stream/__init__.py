"""Export of the kind stream: first preset and demo."""
