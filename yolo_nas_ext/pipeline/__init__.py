"""A search step by step: from its keys through plan and loop to the files of a run folder.

It may import every other folder but `commands`.
"""
