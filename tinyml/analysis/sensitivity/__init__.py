"""How far the score falls while one layer at a time is pruned or quantized: on validation data, in torch."""
