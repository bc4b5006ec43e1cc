"""Bytes to values and back, without sockets: exposition formats, remote write."""
