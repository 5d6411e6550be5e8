"""What each kind of model allows in a preset, adds to it and asks of a card: data and checks, no sound."""
