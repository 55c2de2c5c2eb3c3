"""The network as a graph: capture, BatchNorm folding, and where quantizers go."""
