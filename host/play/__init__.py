"""Playing: event processing, voices, synthesis and mixing, from events to blocks of sound."""
