"""The experiment of the paper that Serupa starts from: class selection, table, artefacts, all at once."""
