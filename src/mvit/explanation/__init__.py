"""What a model looks at: attention, class maps and what it has learned, as numbers and as pictures."""
