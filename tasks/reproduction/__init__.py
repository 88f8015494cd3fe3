"""The class report's tables and plots, beside the same of our own runs."""
