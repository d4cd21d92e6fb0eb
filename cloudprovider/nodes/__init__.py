"""What is left behind by nodes that no longer exist."""
