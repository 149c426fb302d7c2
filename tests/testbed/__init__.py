"""Real servers for the tests: Pebble, BIND, nginx and sshd, each on free ports of 127.0.0.1."""
