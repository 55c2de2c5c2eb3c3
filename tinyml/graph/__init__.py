"""The network as a graph: in torch (capture, BatchNorm folding, where quantizers go) and in ONNX (its constants)."""
