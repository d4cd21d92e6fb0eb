"""The pulse: hellos, echoes and votes between the nodes of a segment, and the permit that they feed."""
