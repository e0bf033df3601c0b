"""The networks, and their initialisation by parameter name."""
