"""Statistics of channels, conditions on them, and orders of channels."""
