"""Partitions: files of galaxies, read without torch and without an unpickler."""
