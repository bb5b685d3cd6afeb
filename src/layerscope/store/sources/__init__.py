"""Where the samples of a data set are found, and how their bytes are read: one file for each kind."""
