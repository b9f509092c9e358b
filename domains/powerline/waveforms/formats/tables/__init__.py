"""Tables of text, and Parquet."""
