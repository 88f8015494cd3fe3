"""The results of ranks: written once, gathered, and read back."""
