"""The commands of the room that plays; what they do is imported when they are called."""
