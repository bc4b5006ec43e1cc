"""This machine's own metrics, in the names, labels, types, help texts and units of node_exporter."""
