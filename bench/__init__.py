"""certgrinderd next to other ACME clients: how long, how much, how many at once."""
