"""Statistics, verdicts, figures and the report, from records and score files alone: imports no torch."""
