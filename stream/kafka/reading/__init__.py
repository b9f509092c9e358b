"""Read records: topics to their end without a group, lag, headers that are not UTF-8."""
