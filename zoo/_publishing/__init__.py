"""From a model to a repository of the Hub."""
