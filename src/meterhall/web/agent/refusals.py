"""How the agent channel says no: a status, a sentence as JSON, and when to come again.

What an agent does with it depends on the status alone: 429 and 503 are a matter of time and have Retry-After,
401 and 403 are the credential's, any other 4xx can never succeed.
"""

import math
import secrets

from meterhall.model.errors import ControlError, MeterhallError, Overloaded
from meterhall.web.errors import failure_of
from meterhall.web.reply import CLOSE, JSON, NOSNIFF, Reply
from meterhall.wire.agent_calls import Refusal, encode_message

# Where a later call may fare better, agents that were refused together must not come back together.
_JITTER_SHARE = 1.0


def refusal_of(error: MeterhallError) -> Reply:
    """The answer to what went wrong."""
    if isinstance(error, ControlError):
        status = 400 if error.code == "BAD_INPUT_VALUE" else 409
        return refusal(status, error.detail)
    if isinstance(error, Overloaded):
        return refusal(429, str(error), error.retry_after_s)
    failure = failure_of(error)
    return refusal(failure.status, failure.text, failure.retry_after_s)


def refusal(status: int, sentence: str, retry_after_s: int | None = None) -> Reply:
    """An answer that is neither 200 nor 304."""
    reply = Reply(status, [JSON, NOSNIFF], encode_message(Refusal(sentence)))
    if retry_after_s is not None:
        reply.headers.append((b"retry-after", b"%d" % _spread(retry_after_s)))
    if status in (408, 413):
        # The rest of the body would be taken for the next request.
        reply.headers.append(CLOSE)
    return reply


def _spread(seconds: int) -> int:
    """Seconds to wait: those, and up to as many again."""
    return seconds + secrets.randbelow(math.ceil(seconds * _JITTER_SHARE) + 1)
