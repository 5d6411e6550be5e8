"""Resynthesis: encodes sounds with a model, transforms or morphs their codes, and decodes them."""
