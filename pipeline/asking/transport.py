"""What is let in from a server: replies of a bounded size, however small they were packed, and from its own origin alone."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking import stream
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.reply import NoAnswer

# No 128 completions with their log-probabilities are longer, in bytes.
LARGEST_REPLY = 64 << 20
# What a reply no longer is once it has been read and unpacked.
_PACKED = "content-encoding", "content-length", "transfer-encoding"


class Bounded(httpx2.AsyncHTTPTransport):
    """Reads every reply itself, as far as it may go; it is unpacked piece by piece, so that no bomb goes off."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        streams = response.headers.get("content-type", "").startswith(stream.CONTENT_TYPE)
        try:
            pieces = _no_more(response)
            content = await stream.whole(pieces) if streams else b"".join([piece async for piece in pieces])
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _PACKED]
        extensions = response.extensions
        return httpx2.Response(response.status_code, headers=headers, content=content, extensions=extensions)


async def _no_more(response: httpx2.Response) -> AsyncIterator[bytes]:
    size = 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > LARGEST_REPLY:
            raise NoAnswer(f"answered with more than {LARGEST_REPLY >> 20} MiB")
        yield piece


def bounded(server: Endpoint) -> Bounded:
    """For as many requests at once as there may be, by the proxy that the environment names for this server."""
    parts = urlsplit(server.address)
    proxies = {} if server.on_loopback or proxy_bypass(parts.hostname or "") else getproxies()
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return Bounded(limits=limits, proxy=proxies.get(parts.scheme) or proxies.get("all"))


def stay(response: httpx2.Response) -> None:
    """AskonceError where the response sends us to another origin: answers of another server would be taken for its own."""
    if not response.has_redirect_location:
        return
    here, there = response.request.url, response.request.url.join(response.headers["location"])
    if _origin(here) != _origin(there):
        to = f"{there.scheme}://{there.netloc.decode('ascii', 'replace').rpartition('@')[2]}"
        raise AskonceError(
            f"the server at {here.host} redirects to {to}, which is not followed: name that address by --base-url if you "
            "trust it"
        )


async def stay_async(response: httpx2.Response) -> None:
    stay(response)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    usual = {"http": 80, "https": 443}
    return url.scheme, url.host, url.port or usual.get(url.scheme)
