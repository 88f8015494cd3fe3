"""What a run leaves: its summary, predictions, report and catalogue."""
