"""How it learns: a recipe, an optimiser, checkpoints, and the loop over them."""
