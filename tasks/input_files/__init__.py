"""Files that a person writes, read in one place."""
