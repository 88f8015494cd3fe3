"""AWS beside the ranks: sessions, the stack, logs, executions and the emulator."""
