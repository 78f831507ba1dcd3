"""What is done with a loaded model."""
