"""Opening a model, running it, capturing feature maps."""
