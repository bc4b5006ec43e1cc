"""This machine's own metrics, in the names, labels, types, help texts and units of node_exporter."""

from meterhall.collect.hostmetrics.machine import HostMetrics

__all__ = ["HostMetrics"]
