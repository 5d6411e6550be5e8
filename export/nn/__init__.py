"""nn~ export for Max and Pd: TorchScript rebuilt from ONNX."""
