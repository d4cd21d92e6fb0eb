"""The agents of a segment in a world of their own: the product's own steps, and all that can go wrong around them."""
