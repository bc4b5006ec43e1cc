"""The store's settings, with safe defaults and units in the names."""

from dataclasses import dataclass

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_MERGE_FACTOR = 4


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What an operator may tune.

    `retention_bytes` is the size of all blocks together, 0 for no limit.
    `block_span_ms` is the length of a fresh block, `merged_span_ms` that of one merged for good and a
    multiple of it. `head_samples_max` starts a flush of what is flushable before its time;
    `late_bytes_max` does so for late samples alone, and twice of it makes back-fill wait.
    `log_checkpoint_bytes` is how far the log grows before what the head holds is written anew.
    `log_pending_bytes_max` is how far appends may run ahead of the disk before they wait.
    With `apart` blocks are written by a process of their own (`tsdb.workshop`).
    `clock_doubt_s` is how long retention waits before it believes a wall clock that has jumped ahead.
    """

    retention_ms: int = 365 * _DAY_MS
    retention_bytes: int = 0
    out_of_order_window_ms: int = 2 * _HOUR_MS
    ahead_ms_max: int = 10 * _MINUTE_MS
    clock_doubt_s: float = 86_400.0
    block_span_ms: int = 30 * _MINUTE_MS
    merged_span_ms: int = _DAY_MS
    log_segment_bytes: int = 8 << 20
    log_checkpoint_bytes: int = 64 << 20
    log_pending_bytes_max: int = 64 << 20
    log_retry_s: float = 0.2
    raw_rows_max: int = 64
    seal_rows: int = 40
    head_samples_max: int = 16_000_000
    late_bytes_max: int = 32 << 20
    page_cache_bytes: int = 128 << 20
    index_cache_bytes: int = 256 << 20
    selection_cache_bytes: int = 32 << 20
    maintain_interval_s: float = 5.0
    apart: bool = False

    def __post_init__(self) -> None:
        assert 0 < self.seal_rows < self.raw_rows_max
        assert self.block_span_ms > 0
        assert self.merged_span_ms % self.block_span_ms == 0

    def merge_spans_ms(self) -> list[int]:
        """Spans whose blocks become one, longest first: 24, 8 and 2 hours.

        Each is some times as long as the next, so that a sample is written anew few times while a
        day never has many blocks.
        """
        shorter: list[int] = []
        span = self.block_span_ms * _MERGE_FACTOR
        while span < self.merged_span_ms:
            if self.merged_span_ms % span == 0:
                shorter.append(span)
            span *= _MERGE_FACTOR
        return [self.merged_span_ms, *reversed(shorter)]
