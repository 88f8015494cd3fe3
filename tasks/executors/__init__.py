"""The ways to run a rank, behind one small protocol (`base`)."""
