"""Exports trained runs to models for a host, verifies and evaluates them."""
