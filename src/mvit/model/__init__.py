"""What it is: the architecture as numbers, as modules, and by name."""
