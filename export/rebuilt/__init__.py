"""Rebuilds decoders as torch modules from their ONNX files."""
