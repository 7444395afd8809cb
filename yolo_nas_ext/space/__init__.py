"""WHAT can be built: search spaces, architectures and their host YAML. No torch, no Ultralytics."""
