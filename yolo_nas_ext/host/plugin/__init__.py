"""Additions to Ultralytics as it loads: the commands and the plugin modules.

It may import what `host` may; this file stays empty of imports, as every start of Ultralytics reads
it.
"""
