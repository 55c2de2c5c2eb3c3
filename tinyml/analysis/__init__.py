"""What a model's weights look like, layer by layer."""
