"""From pictures and texts to a model's input."""
