"""Vocabulary interventions: which stretches of a text become which tokens, and the tokenizer that does it."""
