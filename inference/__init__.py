"""All that runs in a function or on a worker. No Prefect, no pandas; torch only where a module needs it."""
