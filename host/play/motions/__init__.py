"""Motions of latents: LFOs, paths, random walks and touch."""
