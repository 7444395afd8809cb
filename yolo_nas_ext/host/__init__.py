"""The only folder that imports Ultralytics."""
