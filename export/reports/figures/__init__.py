"""Pictures of what runs came to: of frames, of grains, of clips."""
