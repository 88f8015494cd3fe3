"""What a run costs, by which method, from which price book."""
