"""What if: how fast models are beside each other on this machine, and what would fit."""
