"""What ranks need besides data: weights and scripts, found and put into the bucket."""
