"""Breaks a running Roost in every way the lab can, and measures what a client and the wire saw of it."""
