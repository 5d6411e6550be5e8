"""The kind grain."""
