"""From photo to model input: reading, resizing, preprocessing, and whether the input suits the model."""
