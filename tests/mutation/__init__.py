"""How many faults of the program the fast tests notice."""
