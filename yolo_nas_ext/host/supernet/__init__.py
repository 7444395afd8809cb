"""The supernet: modules that are sliced, their training, and architecture parameters for DARTS.

It may import what `host` may.
"""
