"""What passes attach to a model: quantizers of weights and activations."""
