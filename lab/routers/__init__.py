"""Routers of the lab: real FRR and BIRD in front of the nodes, what they were told, and what they believe."""
