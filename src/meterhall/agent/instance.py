"""Which instance of a cloud this host is: asked once of the cloud's own metadata service, if there is one.

The service is at a link-local address that is fixed here; nothing of the answer but the id is used.
"""

from typing import Annotated, Final

import aiohttp
import msgspec
from msgspec import Meta, Struct

METADATA_URL: Final = "http://169.254.169.254"
_TIMEOUT_S: Final = 1.0
_ANSWER_BYTES_MAX: Final = 64 << 10
_ID_CHARS_MAX: Final = 255
_TOKEN_HEADERS: Final = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}


class _OpenStack(Struct):
    uuid: Annotated[str, Meta(min_length=1)]


async def instance_id(url: str = METADATA_URL) -> str | None:
    """The id, OpenStack's or EC2's; None where nothing answers as a metadata service does."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            found = await _openstack(session, url) or await _ec2(session, url)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None
    if found is None or not found.isprintable() or len(found) > _ID_CHARS_MAX:
        return None
    return found


async def _openstack(session: aiohttp.ClientSession, url: str) -> str | None:
    answer = await _get(session, f"{url}/openstack/latest/meta_data.json", {})
    if answer is None:
        return None
    try:
        return msgspec.json.decode(answer, type=_OpenStack).uuid
    except msgspec.DecodeError:
        return None


async def _ec2(session: aiohttp.ClientSession, url: str) -> str | None:
    headers = {}
    # Version 2 wants a token first; version 1 has none to give.
    async with session.put(f"{url}/latest/api/token", headers=_TOKEN_HEADERS) as response:
        if response.status == 200:
            token = await response.content.read(_ANSWER_BYTES_MAX)
            headers = {"X-aws-ec2-metadata-token": token.decode("ascii", "replace").strip()}
    answer = await _get(session, f"{url}/latest/meta-data/instance-id", headers)
    return None if answer is None else answer.decode("ascii", "replace").strip() or None


async def _get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> bytes | None:
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            return None
        return await response.content.read(_ANSWER_BYTES_MAX)
