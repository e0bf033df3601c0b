"""Likelihood and generation scoring of exported models: one row per item."""
