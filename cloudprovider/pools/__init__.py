"""Addresses that may be given out: who may have which, and which are free."""
