"""`roost bgp`: which sessions the nodes have with their routers, and what they tell them."""
