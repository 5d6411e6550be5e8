"""Recurrent networks over frames of sound."""
