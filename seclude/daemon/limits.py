"""What a peer may make a server hold, and for how long. Every number has its reason beside it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a peer may make the server hold, and for how long; seconds and octets."""

    max_body_bytes: int = (1 << 20) + (1 << 16)  # a request of 1 MiB and what encapsulation and padding add to it
    max_head_bytes: int = 1 << 14  # all lines of a head together; browsers and proxies stay under 8 KiB
    max_fields: int = 64  # a browser behind two proxies sends about thirty
    header_timeout: float = 10.0  # one head is one packet; ten seconds forgive three lost ones
    first_octet_timeout: float = 5.0  # a body that is coming begins with its head
    body_timeout: float = 30.0  # 1 MiB at 35 kB/s, the slow end of a mobile network
    min_body_rate: float = 16384.0  # octets a second, which add to that time: 128 kbit/s, as a phone call's data has
    send_timeout: float = 30.0  # to take what the socket buffers did not, for a peer that does not read its answer
    keepalive: float = 75.0  # longer than the pools of our own clients, so that they close first
    max_inflight: int = 512  # requests that arrived whole; 1 MiB each at the worst: half a gigabyte
    max_arriving_bytes: int = 1 << 28  # of all bodies that are still on their way, together
    max_connections: int = 16384  # silent ones cost a descriptor and a few kB each
    linger: float = 2.0  # to read on after a refusal, so that the answer is not lost in a reset

    @property
    def shortest_timeout(self) -> float:
        """The shortest time that a clock has to keep, in seconds."""
        return min(self.header_timeout, self.first_octet_timeout, self.body_timeout, self.send_timeout, self.keepalive)
