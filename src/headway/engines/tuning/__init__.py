"""Fine-tuning in real time, with PyTorch: what trains, in units that a serving engine can run between its steps."""
