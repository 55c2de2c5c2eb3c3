"""What makes a quantized network better without training it: equalized ranges, learned rounding, corrected biases."""
