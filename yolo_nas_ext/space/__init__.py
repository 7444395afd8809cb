"""WHAT can be chosen: spaces of networks, or of anything else that has choices.

It may import `network`, and never torch.
"""
