"""What an instrument plays by itself: its kit's keys, its demo, and how loud these are."""
