"""Write a trained network for use without this package (ONNX, torch.export)."""
