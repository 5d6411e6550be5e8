"""Notes beside recordings: how near what a model plays comes to what it never heard, in figures and to the ear."""
