"""The pages of the site that are made of the manifest, of docstrings and of the guides."""
