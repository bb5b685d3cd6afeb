"""Fuzzing: damaged and hostile files for every reader, in child processes, and layerscope's own parsers by coverage."""
