"""Fine-tuning in real time: what computes it, in PyTorch."""
