"""Files for Max and Pd: TorchScript that nn~ plays, rebuilt from a model's ONNX file and proved."""
