"""Resynthesis: encodes sounds, transforms or morphs their codes, and decodes them."""
