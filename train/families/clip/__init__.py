"""The clip family: autoencoders of whole short sounds, made for playing."""
