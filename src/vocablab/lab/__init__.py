"""The laboratory: studies, plans, stages, engine and command line."""
