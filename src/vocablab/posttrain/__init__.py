"""Post-training of Hugging Face checkpoints with TRL."""
