"""The records that travel: the run request, the rank event, the rank result, and how their fields are checked."""
