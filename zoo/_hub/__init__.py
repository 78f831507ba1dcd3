"""Files elsewhere: asked for, downloaded, verified, cached."""
