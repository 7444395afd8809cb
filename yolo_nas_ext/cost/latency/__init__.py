"""Latency by a device profile: how layers are measured, a model is fitted, networks are predicted.

It may import `network`; `probe` travels alone in the bundle and imports nothing of the
package.
"""
