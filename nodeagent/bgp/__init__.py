"""Announces VIPs by BGP, through a GoBGP daemon beside the agent."""
