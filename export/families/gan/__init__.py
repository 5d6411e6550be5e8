"""The families gan, dcgan and halves: ONNX graphs, report and study."""
