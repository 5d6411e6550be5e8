"""The sequence family: ONNX graphs, report and study."""
