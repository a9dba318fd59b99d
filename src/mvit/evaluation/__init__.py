"""How good a classifier is: scores by views, metrics with their denominators, and what the order of frames is worth.

Nothing here knows models: a classifier is a function from clips to logits, so that what is trained, exported or served
is measured by the same code. No torch.
"""
