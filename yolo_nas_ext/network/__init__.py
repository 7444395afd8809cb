"""ONE network: its choices as an `Architecture`, blocks, layer table, and its YAML out and in.

It imports nothing of the package but `errors`, `files` and `console`, and never torch.
"""
