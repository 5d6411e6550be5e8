"""Batches of frames and clips shared by several families."""
