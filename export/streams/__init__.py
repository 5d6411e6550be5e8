"""The graphs of models whose frames follow from one another."""
