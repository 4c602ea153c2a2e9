"""The experiment of the paper that Serupa starts from."""
