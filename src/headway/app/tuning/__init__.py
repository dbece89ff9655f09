"""Fine-tuning as a service: examples, files, jobs, and what is kept of them."""
