"""What backends of several frameworks share."""
