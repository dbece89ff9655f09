"""Fine-tuning: its steps beside serving or instead of it, how they are packed, what is frozen or offloaded."""
