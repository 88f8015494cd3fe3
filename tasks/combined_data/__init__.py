"""Other people's result files: found, read and tabulated."""
