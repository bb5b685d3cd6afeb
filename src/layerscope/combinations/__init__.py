"""From a feature map to one with fewer channels; one file a method."""
