"""Statistics of channels, queries by them, orders of them."""
