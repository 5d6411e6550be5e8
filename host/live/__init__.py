"""Playing live: a card, ports and a screen, in two processes."""
