"""Where an LLM is reached."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from askonce.cache.key import endpoint_identity


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible address, its key, and headers that go with every request."""

    address: str
    api_key: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people: without what the address may hold of user and password. AskonceError if it is none."""
        return endpoint_identity(self.address)

    @property
    def on_loopback(self) -> bool:
        host = urlsplit(self.address).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"
