"""nn~ export for Max and Pd: TorchScript rebuilt from a model's ONNX file, and checked against it."""
