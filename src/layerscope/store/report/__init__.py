"""The report of a store: what the layers of a model make of a data set, as one HTML file without a script."""
