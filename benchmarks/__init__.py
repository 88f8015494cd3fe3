"""What `make bench` measures: two things in one run, interleaved, given as a ratio."""
