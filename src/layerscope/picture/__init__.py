"""What every picture is made of: codes, scale, font, canvas, caption, and the files it is exported to."""
