"""What staged scripts may import by its bare name: this folder is put on their path."""
