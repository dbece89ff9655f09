"""Fine-tuning in virtual time: pipelines, links and memory that need not exist."""
