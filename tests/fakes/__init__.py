"""Far sides that live in the test: each passes the same contract test as the real thing."""
