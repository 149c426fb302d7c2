"""The table of options, the values that they take, and where values come from."""
