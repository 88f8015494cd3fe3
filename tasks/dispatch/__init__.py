"""Which rank runs when, and which rank gets a backup."""
