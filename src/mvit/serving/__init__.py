"""How others ask it: a server whose videos come from anyone."""
