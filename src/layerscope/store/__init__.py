"""Whole data sets: what a model makes of thousands to millions of images, kept in a store and asked later."""
