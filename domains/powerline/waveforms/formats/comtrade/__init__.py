"""COMTRADE files."""
