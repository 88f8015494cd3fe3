"""What is measured, one part a module: each compares two things in one run."""
