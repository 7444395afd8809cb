"""WHAT it costs, without training."""
