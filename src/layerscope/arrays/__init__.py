"""Numpy kernels that know nothing of layers: moments, ranges, reductions."""
