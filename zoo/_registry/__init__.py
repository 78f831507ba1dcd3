"""Contents of the zoo: the manifest, the families, the recipes."""
