"""What the zoo has: the manifest, the families, the recipes."""
