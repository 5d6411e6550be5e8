"""Clips: decoded and kept, and read at any pitch."""
