"""The benchmarks: `make bench`. What each measures is told at the head of its file."""
