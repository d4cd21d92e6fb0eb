"""The VIPs among the addresses of this node's links, each with our mark and a lifetime."""
