"""Model kinds: preset settings, card rules and engines, one folder per kind."""
