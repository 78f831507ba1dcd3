"""Files and memory."""
