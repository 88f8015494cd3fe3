"""A run as the store knows it: planned, begun, staged, finished."""
