"""The chroma family: ONNX graphs, report and study."""
