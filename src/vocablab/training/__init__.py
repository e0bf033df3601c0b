"""Optimiser, schedule, loss, budgets and checkpoints: what training needs, without a loop."""
