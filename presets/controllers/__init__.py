"""Maps of well-known controllers."""
