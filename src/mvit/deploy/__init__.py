"""How it is used: a trained model as something that takes videos and gives scores by class name."""
