"""What `make bench` measures: two things in one run, interleaved, told as a ratio."""
