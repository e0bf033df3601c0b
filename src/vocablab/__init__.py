"""vocablab: a laboratory for vocabulary interventions in language models."""

__version__ = "0.1.0"
