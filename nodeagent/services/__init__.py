"""Which VIPs there are, who may serve them, and which of them this node claims."""
