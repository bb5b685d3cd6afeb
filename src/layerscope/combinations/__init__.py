"""From a feature map to one with fewer channels, or the difference of two; one file per method."""
