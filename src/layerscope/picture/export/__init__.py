"""Exporting a picture as SVG, as PDF and as a matplotlib figure, from its tiles and the record of what was drawn around."""
