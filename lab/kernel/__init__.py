"""The kernel box: a private Linux, run as an ordinary program, that has what the machine's own kernel may lack."""
