"""The record: trials, the study that holds them, its storage, its objectives and its leaderboard.

It may import `network` and `space`.
"""
