"""The composition root: the only place that names a store or reads the environment."""
