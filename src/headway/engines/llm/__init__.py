"""The LLM engine: executes serving steps with PyTorch."""
