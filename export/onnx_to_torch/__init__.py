"""Rebuilds decoders as torch modules from ONNX files."""
