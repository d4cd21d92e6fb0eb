"""What the neighbours on the segment are told: which VIPs are here."""
