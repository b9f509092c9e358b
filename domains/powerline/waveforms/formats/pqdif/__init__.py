"""PQDIF files (IEEE 1159.3)."""
