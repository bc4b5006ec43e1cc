"""Meterhall: an open, multi-tenant System Monitoring service."""

__version__ = "0.1.0"
