"""A model meets the core: opening it, running it, capturing feature maps."""
