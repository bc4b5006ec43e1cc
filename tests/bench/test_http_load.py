"""What wrk says, as figures."""

from bench.http_load import Rate, parse_wrk

SAID = """Running 5s test @ http://127.0.0.1:9090/api/v1/query?query=up
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms    2.50ms  40.10ms   92.00%
  Latency Distribution
     50%  250.00us
     75%  600.00us
     90%    2.10ms
     99%    1.20s
  107270 requests in 5.00s, 50.00MB read
  Non-2xx or 3xx responses: 12
Requests/sec:  21454.00
Transfer/sec:     10.00MB
"""


def test_report():
    assert parse_wrk(SAID) == Rate(21454.0, 0.25, 1200.0, 12)
