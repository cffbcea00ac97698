"""Tasks: one file per environment. The table of their names is in registry.py."""
