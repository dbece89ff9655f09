"""Fine-tuning for people and programs: examples, files, jobs, and the tuned models that come of them."""
