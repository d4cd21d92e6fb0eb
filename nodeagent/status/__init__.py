"""What this node says of itself on its NodeAgent: what is applied, announced, and not announced, and why."""
