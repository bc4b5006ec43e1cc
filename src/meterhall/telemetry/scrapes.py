"""Collections as /metrics counts them."""

from meterhall.telemetry.metrics import SCRAPE_LATE_SECONDS, SCRAPE_SECONDS, SCRAPES


class ScrapeMeter:
    """Implements collect.targetloop.Meter."""

    def began_late(self, seconds: float) -> None:
        """So long after its planned time a collection began."""
        SCRAPE_LATE_SECONDS.observe(seconds)

    def took(self, seconds: float) -> None:
        """To fetch and append one page."""
        SCRAPE_SECONDS.observe(seconds)

    def came_to(self, outcome: str) -> None:
        """`ok`, or what went wrong, by one of a few names."""
        SCRAPES.labels(outcome).inc()
