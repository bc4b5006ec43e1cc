"""PromQL's functions: one file per family, all of them in `table.FUNCTIONS`."""
