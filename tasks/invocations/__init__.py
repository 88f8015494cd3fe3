"""What was called, how it ended, and what is kept of it."""
