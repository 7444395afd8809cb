"""A space as a supernet sees it: slots for weights, and which networks a training step is of.

It may import `network` and the rest of `space`, and never torch.
"""
