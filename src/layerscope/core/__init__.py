"""The vocabulary and the values: layers, axes, placement, receptive fields, feature maps."""
