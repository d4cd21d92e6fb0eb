"""The controller: gives every Service of type LoadBalancer its addresses, and says on it what became of them."""
