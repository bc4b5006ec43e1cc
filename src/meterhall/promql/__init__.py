"""PromQL text to tree and back: no arrays, no storage."""
