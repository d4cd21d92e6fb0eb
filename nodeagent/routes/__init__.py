"""Host routes for the VIPs in a table of the kernel's, for a routing daemon to pass on."""
