"""How hard each example is for a network: prediction depth, and what follows from it."""
