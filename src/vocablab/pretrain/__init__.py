"""Pretraining: resumable batches and the loop."""
