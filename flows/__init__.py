"""What a person starts: the flows (wiring, no arithmetic) and the `cosmic` command."""
