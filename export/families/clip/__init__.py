"""The clip family: ONNX graphs and report."""
