"""Observe processes: logs, traces, health and watchdogs."""
