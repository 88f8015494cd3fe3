"""Script mode: a staged script is downloaded and run for a rank."""
