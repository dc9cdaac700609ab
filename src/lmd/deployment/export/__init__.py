"""A trained model leaves its run: as ONNX, as a program of torch.export, or as a MONAI bundle."""
