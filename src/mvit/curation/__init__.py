"""What a data set is worth before anything learns from it: what was seen of its files, what is twice in it, copies."""
