"""What a run is asked to be: the sections of a recipe, files of them, and what follows from the size of the data."""
