"""A rack in a box: nodes, switch, gateway and client as network namespaces, with a real Kubernetes control plane."""
