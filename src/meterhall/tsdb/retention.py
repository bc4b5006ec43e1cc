"""What is too old: whole files, dropped once their newest sample is past the retention."""

import structlog

from meterhall.tsdb.block_set import BlockSet

_log = structlog.get_logger()


def drop_expired(blocks: BlockSet, before_ms: int) -> int:
    """Removes blocks without a sample at or after `before_ms`; returns how many. Raises OSError."""
    expired = {block for block in blocks.blocks if block.footer.newest_ms < before_ms}
    if expired:
        blocks.publish((), removed=expired)
        _log.info("retention.dropped", blocks=len(expired), before_ms=before_ms)
    return len(expired)
