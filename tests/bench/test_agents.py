"""The bench of agents in small: everything that its tables tell, on a real service."""

import argparse
import asyncio

from bench.agents import measure


def test_agents_report_and_return(tmp_path):
    """Twenty agents, five of which come back after half an hour: nothing is missing, nothing doubled."""
    options = argparse.Namespace(
        agents=20, returning=5, hours=0.5, seconds=1.0, spread=0.1, work=tmp_path
    )
    steady, returning = asyncio.run(measure(options))
    told = dict(steady.rows)
    assert float(told["raw to sent"]) > 10
    assert told["reports with 429 or 503"] == "0"
    told = dict(returning.rows)
    assert (told["scrapes to fill"], told["filled and acknowledged"]) == ("150", "150")
    assert told["missing or doubled"] == "0"
