"""The embedded store: write-ahead log, head of groups, immutable blocks."""
