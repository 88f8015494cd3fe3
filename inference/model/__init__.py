"""The AstroMAE model: its configuration, its weights and its ONNX graph."""
