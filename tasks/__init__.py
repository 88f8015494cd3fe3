"""One lifecycle step a file: a thin Prefect task, and what the step needs that never runs in a function."""
