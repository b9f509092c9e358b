"""Detect faults in windows: decode, classify, track episodes, build events. Pure: no Kafka, no clock."""
