"""Processes that work as one: who they are, how they meet, agree, share tensors, and end."""
