"""The partials family: ONNX graphs and report."""
