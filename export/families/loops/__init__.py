"""The loops family."""
