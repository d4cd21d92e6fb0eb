"""`roost status`: one page that says how a cluster's VIPs are."""
