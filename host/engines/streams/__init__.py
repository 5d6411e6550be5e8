"""Makes streams: steps of the decoder, the sounds of frames, and the process that makes them live."""
