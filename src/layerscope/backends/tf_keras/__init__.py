"""Keras 2, the package tf_keras.

It reuses the files of `backends.keras`, which recognise layers by the names of their classes and ask an engine for the rest, so
it stands outside the contract that keeps frameworks independent of each other. It never imports Keras 3.
"""
