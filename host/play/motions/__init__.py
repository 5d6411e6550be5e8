"""Motions of latents as time goes on: cycles, paths and walks, and hands that hold them."""
