"""The grain family: ONNX graphs, report and study."""
