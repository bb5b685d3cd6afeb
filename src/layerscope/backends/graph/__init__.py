"""What the two backends of graph files, ONNX and TFLite, share."""
