"""Keras 2, the package tf_keras."""
