"""The Kubernetes API, as much of it as Roost uses."""
