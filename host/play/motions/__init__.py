"""Motions of latents over time: LFO cycles, paths, random walks and touch."""
