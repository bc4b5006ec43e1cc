"""The bench of agents in small: everything that its tables tell, on a real service."""

from bench.agents import Size, run


def test_agents_report_and_return(tmp_path):
    """Twenty agents, five of which come back after half an hour: nothing is missing, nothing doubled."""
    size = Size(agents=20, seconds=1.0, returning=5, hours=0.5, spread=0.1)
    steady, returning = run(tmp_path, size)
    told = dict(steady.rows)
    assert float(told["raw to sent"]) > 10
    assert told["reports with 429 or 503"] == "0"
    told = dict(returning.rows)
    assert (told["scrapes to fill"], told["filled and acknowledged"]) == ("150", "150")
    assert told["missing or doubled"] == "0"
