"""`roost segment`: the table of a layer-2 segment, drawn: seats, holders, who waits for whom, who is next."""
