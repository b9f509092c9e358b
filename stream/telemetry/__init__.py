"""Logs, traces, health and watchdogs."""
