"""The data set has the shape that figures elsewhere were measured with."""

import numpy as np
from bench.dataset import make
from bench.fleet import STEP_MS


def test_shape():
    data = make(hosts=20, hours=1)
    series = data.values.reshape(-1, data.values.shape[2])
    assert series.shape == (10_000, 240)
    assert np.isfinite(series).all()
    names = {tuple(data.labels(host, at).items()) for host in range(20) for at in range(500)}
    assert len(names) == 10_000
    assert 0.45 < (series == series[:, :1]).all(axis=1).mean() < 0.55
    assert 0.77 < (series == np.floor(series)).mean() < 0.83
    steps = np.diff(data.times_ms, axis=1)
    assert abs(steps.mean() - STEP_MS) < 1
    assert (abs(steps - STEP_MS) <= 60).all()


def test_the_same_size_is_the_same_data():
    assert np.array_equal(make(3, 0.2).values, make(3, 0.2).values)
