"""WHAT it costs without training: parameters, FLOPs, memory and latency, and budgets of them.

It may import `network`.
"""
