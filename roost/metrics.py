"""What the programs count: one registry, every metric declared once, its help text the reference page's text."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from roost.words import VERSION

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PER_VIP_LIMIT = (
    2_000  # VIPs; above it the metrics with a label per VIP are left out, so that no scrape grows without end
)

# -- both programs

BUILD_INFO = Gauge(
    "roost_build_info", "Version of this program; the value is always 1.", ["version"], registry=REGISTRY
)
BUILD_INFO.labels(VERSION).set(1)

API_REQUESTS = Counter(
    "roost_api_requests_total",
    "Requests to the API server by verb, resource and HTTP status; code 'none' when no complete answer came.",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
INTERNAL_ERRORS = Counter(
    "roost_internal_errors_total",
    "Bugs met while handling one object, which was set aside; by the room where it happened.",
    ["room"],
    registry=REGISTRY,
)
LEADING = Gauge("roost_leading", "1 while this program is the leader of its Lease.", ["lease"], registry=REGISTRY)
EVENTS_DROPPED = Counter(
    "roost_events_dropped_total", "Kubernetes Events that were not written, by why.", ["why"], registry=REGISTRY
)
TASKS = Gauge("roost_tasks", "Asyncio tasks that exist now.", registry=REGISTRY)
LOOP_LAG = Gauge("roost_loop_lag_seconds", "How late the event loop was at its last heartbeat.", registry=REGISTRY)

# -- cloudprovider

POOL_ADDRESSES = Gauge(
    "roost_pool_addresses",
    "Addresses of a pool by family (IPv4, IPv6) and state (total, used, resting).",
    ["pool", "family", "state"],
    registry=REGISTRY,
)
CLAIMS_WAITING = Gauge(
    "roost_claims_waiting", "Services that wait for an address, by the reason why.", ["reason"], registry=REGISTRY
)
ALLOCATION_SECONDS = Histogram(
    "roost_allocation_seconds",
    "From seeing a Service to its address in its status.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)

BGP_SESSIONS = Gauge(
    "roost_bgp_sessions",
    "BGP sessions of a BGPPeer over all nodes, by state (desired, established).",
    ["peer", "state"],
    registry=REGISTRY,
)

# -- nodeagent

VIP_INFO = Gauge(
    "roost_vip_info",
    f"A VIP that this node holds, with its group; always 1. Left out above {PER_VIP_LIMIT} VIPs.",
    ["vip", "node", "group"],
    registry=REGISTRY,
)
VIP_ANNOUNCED = Gauge(
    "roost_vip_announced",
    f"1 if this node announces the VIP, 0 if it should and does not. Left out above {PER_VIP_LIMIT} VIPs.",
    ["vip"],
    registry=REGISTRY,
)
VIPS = Gauge("roost_vips", "VIPs of this node by state (desired, announced).", ["state"], registry=REGISTRY)
HOLDER_CHANGES = Counter(
    "roost_holder_changes_total",
    "Groups that changed hands by this node's doing, by cause (a reason word: Taken, Given, Vacant, Stopping, ...).",
    ["cause"],
    registry=REGISTRY,
)
FAILOVER_SECONDS = Histogram(
    "roost_failover_seconds",
    "From the last sign of life of a group's old holder to this node's first announcement, by cause (a reason word).",
    ["cause"],
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 30),
    registry=REGISTRY,
)
DUPLICATE_OWNER = Counter(
    "roost_duplicate_owner_total",
    "Claims of a foreign station that were heard for a VIP while this node holds it.",
    registry=REGISTRY,
)
WITNESSES = Gauge(
    "roost_witnesses",
    "Nodes that witness this node's seat on a segment; 0: none, it is in leased mode.",
    ["segment"],
    registry=REGISTRY,
)
SEAT_LEASE_AGE = Gauge(
    "roost_seat_lease_age_seconds",
    "Time since this node's Lease was last written with success: the age of what feeds its permits.",
    registry=REGISTRY,
)
SEGMENT_SEATS = Gauge(
    "roost_segment_seats",
    "Seats in the table of a segment by state (Live, Gone).",
    ["segment", "state"],
    registry=REGISTRY,
)
BGP_SESSION_UP = Gauge(
    "roost_bgp_session_up",
    "1 while a BGP session of this node is established, else 0; by BGPPeer (or setting) and the router's address.",
    ["peer", "remote"],
    registry=REGISTRY,
)
BGP_ADVERTISED = Gauge(
    "roost_bgp_advertised_paths",
    "Paths that went out on a BGP session of this node.",
    ["peer", "remote"],
    registry=REGISTRY,
)


def show_vips(node: str, rows: Iterable[tuple[str, str, bool]]) -> None:
    """Set the metrics per VIP anew from *rows* of VIP, group, and whether it is announced."""
    rows = list(rows)
    VIPS.labels("desired").set(len(rows))
    VIPS.labels("announced").set(sum(announced for _, _, announced in rows))
    VIP_INFO.clear()
    VIP_ANNOUNCED.clear()
    if len(rows) > PER_VIP_LIMIT:
        return
    for vip, group, announced in rows:
        VIP_INFO.labels(vip, node, group).set(1)
        VIP_ANNOUNCED.labels(vip).set(announced)


def exposition() -> bytes:
    """All metrics in Prometheus' text format, version 0.0.4."""
    return generate_latest(REGISTRY)
