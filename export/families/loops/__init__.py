"""The loops family: ONNX graphs, report and steering."""
