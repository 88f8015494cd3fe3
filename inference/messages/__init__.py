"""Messages among the ranks of one run: the module `fmi` of staged scripts, and the ways that messages take."""
