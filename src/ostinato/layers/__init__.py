"""HOW a cell becomes a network."""
