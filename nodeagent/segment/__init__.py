"""The table of a layer-2 segment: who sits on it, who holds which group of VIPs, and how that changes."""
