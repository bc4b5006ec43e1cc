"""Prometheus' HTTP API under /prometheus, for the tenant that the appkey names."""
