"""Exports, verifies and evaluates trained runs."""
