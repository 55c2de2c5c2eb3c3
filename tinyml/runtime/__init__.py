"""The one onnxruntime session, the one interleaved timer, and what this machine can do."""
