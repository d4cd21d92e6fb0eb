"""What a Service asks for, and the writes that give it its addresses and take them back."""
