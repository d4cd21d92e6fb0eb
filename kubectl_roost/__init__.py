"""The command that people type, `roost` or `kubectl roost`: what is where, and what waits for what."""
