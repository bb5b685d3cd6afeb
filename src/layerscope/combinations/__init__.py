"""From a feature map to one with fewer channels, or to a difference of two; one file a method."""
