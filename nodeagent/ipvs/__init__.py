"""The kernel's balancer (IPVS) in front of the API servers, on the node that has the control plane's address."""
