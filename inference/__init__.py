"""All that runs in a function or on a worker. No Prefect, no pandas; torch only where a module needs it."""

import os

# Read once, when torch is loaded: its threads would spin (with a busy neighbour, 4 to 13 times slower).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
