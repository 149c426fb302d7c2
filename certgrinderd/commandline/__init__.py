"""From the words of a command line to a command and its settings, and whose words they are."""
