"""The words that Roost, its users and its neighbours share: annotations, labels, names, and reasons."""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

VERSION = "0.1.0"
GROUP = "roost.dev"
NAMESPACE = "roost-system"
NODE_LEASE_NAMESPACE = "roost-node-lease"
CONTROLLER_LEASE = "roost-cloud-controller"
SEGMENT_KEY = "roost-segment-key"  # Secret in roost-system: its data key `key` signs hellos
CONTROLLER = "roost.dev/cloudprovider"  # reportingController of Events
AGENT = "roost.dev/nodeagent"

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"  # Kubernetes' own for load balancers (k8s.io/cloud-provider)
VIP_FINALIZER = "roost.dev/announced"

# Annotations on a Service. Ours first, then the names users of kube-vip know.
ADDRESSES = "roost.dev/addresses"
POOL = "roost.dev/pool"
SHARING_KEY = "roost.dev/sharing-key"
ANNOUNCERS = "roost.dev/announcers"  # EveryEligibleNode or HolderOnly: who announces by BGP and routing table
KUBE_VIP_ADDRESSES = "kube-vip.io/loadbalancerIPs"
KUBE_VIP_IGNORE = "kube-vip.io/ignore"
KUBE_VIP_WITHOUT_ENDPOINTS = "kube-vip.io/allow-reconcile-without-endpoints"
KUBE_VIP_INTERFACE = "kube-vip.io/serviceInterface"  # announce here only; from trusted namespaces
KUBE_VIP_LEASE = "kube-vip.io/leaseName"  # Services that name one are on one node; from trusted namespaces
KUBE_VIP_ALONE = "kube-vip.io/forcePerServiceElection"  # the Service moves by itself
KUBE_VIP_CLASS = "kube-vip.io/kube-vip-class"
ROOST_CLASS = "roost.dev/load-balancer"

AUTHORS = "roost.dev/service-authors"  # on a Namespace; "trusted": its Services may say what changes nodes

RETRY = "roost.dev/retry"  # any new value makes the controller try once more

# Conditions of a Service.
ALLOCATED = "roost.dev/Allocated"
ANNOUNCED = "roost.dev/Announced"
REACHABLE = "roost.dev/Reachable"
CONFLICT = "roost.dev/AddressConflict"

# Annotations on a node's Lease.
TENURE = "roost.dev/tenure"
ENDED = "roost.dev/ended"
SEGMENT = "roost.dev/segment"  # whose seat it feeds

# Labels and taints of nodes that say who announces.
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"
KARPENTER_TAINT = "karpenter.sh/disrupted"
OUT_OF_SERVICE_TAINT = "node.kubernetes.io/out-of-service"
RACK_LABELS = ("roost.dev/rack", "topology.kubernetes.io/zone")  # the first that a node has says where it stands
SERVICE_NAME_LABEL = "kubernetes.io/service-name"  # on an EndpointSlice: the Service it belongs to

KERNEL_PROTOCOL = 82  # our mark on addresses and routes in the kernel (rtnetlink protocol number)


class Reason(StrEnum):
    """Why a decision fell as it did: one word for the log, the Event, the condition and the metric."""

    # cloudprovider: Allocated
    ALLOCATED = "Allocated"
    POOL_EXHAUSTED = "PoolExhausted"
    NO_MATCHING_POOL = "NoMatchingPool"
    ADDRESS_NOT_IN_POOL = "AddressNotInPool"
    ADDRESS_TAKEN = "AddressTaken"
    ADDRESS_FORBIDDEN = "AddressForbidden"
    SHARING_REFUSED = "SharingRefused"
    QUOTA_EXCEEDED = "QuotaExceeded"
    FAMILY_MISSING = "FamilyMissing"
    INVALID_REQUEST = "InvalidRequest"
    REQUESTS_DISAGREE = "RequestsDisagree"
    COMPETING_CONTROLLER = "CompetingController"
    MOVED = "Moved"
    CLAIM_REBOUND = "ClaimRebound"
    RELEASING = "Releasing"
    INTERNAL_ERROR = "InternalError"
    # who announces
    ANNOUNCED = "Announced"
    NO_ELIGIBLE_NODE = "NoEligibleNode"
    NO_ENDPOINTS = "NoEndpoints"
    NO_HOLDER = "NoHolder"
    ADDRESS_CONFLICT = "AddressConflict"
    CONFLICT_ENDED = "AddressConflictEnded"
    PROBE_ANSWERED = "ProbeAnswered"
    NOT_REACHABLE = "NotReachable"
    NOT_PROBED = "NotProbed"
    PEER_DOWN = "PeerDown"
    GOBGP_DOWN = "GoBgpDown"
    NOT_SUPPORTED = "NotSupported"
    NO_SESSION = "NoSession"
    NODE_DOWN = "NodeDown"
    # routers, and what they are told
    ALL_ESTABLISHED = "AllEstablished"
    SOME_DOWN = "SomeDown"
    SECRET_MISSING = "SecretMissing"
    NO_NODE = "NoNode"
    UNKNOWN_PEER = "UnknownPeer"
    UNKNOWN_POOL = "UnknownPool"
    DEFAULT_USED = "DefaultUsed"
    DUPLICATE_PEER = "DuplicatePeer"
    ROUTER_ID_CONFLICT = "RouterIDConflict"
    NEXT_HOP_MISSING = "NextHopMissing"
    ATTRIBUTES_CONFLICT = "AttributesConflict"
    ANNOTATIONS_MISSING = "AnnotationsMissing"
    # pools
    PARSED = "Parsed"
    INVALID_RANGE = "InvalidRange"
    DISABLED = "Disabled"
    POOLS_OVERLAP = "PoolsOverlap"
    CLUSTER_CIDR = "ClusterCIDR"
    NODE_ADDRESS = "NodeAddress"
    NO_FREE_ADDRESS = "NoFreeAddress"
    NEARLY_FULL = "NearlyFull"
    AS_EXPECTED = "AsExpected"
    # nodeagent: why this node does not announce, or how it is
    RUNNING = "Running"
    API_LOST = "ApiLost"
    LINK_DOWN = "LinkDown"
    NO_INTERFACE = "NoInterface"
    NO_SUCH_INTERFACE = "NoSuchInterface"
    NOT_IN_SUBNET = "NotInSubnet"
    EXCLUDED = "Excluded"
    DRAINING = "Draining"
    NOT_SELECTED = "NotSelected"
    NO_LOCAL_ENDPOINT = "NoLocalEndpoint"
    KERNEL_REFUSED = "KernelRefused"
    # segment: why a group changed hands, or a permit ended
    SAT_DOWN = "SatDown"
    ADOPTED = "Adopted"
    VACANT = "Vacant"
    TAKEN = "Taken"
    GIVEN = "Given"
    MARKED = "Marked"
    STOPPING = "Stopping"
    NOT_ELIGIBLE = "NotEligible"
    NODE_NAME_TAKEN = "NodeNameTaken"
    WRITE_REFUSED = "WriteRefused"
    RETURNED = "Returned"
    ANSWERED_FOR = "AnsweredFor"


def vip_name(address: Address) -> str:
    """The name of an address's VirtualIP: the address itself; IPv6 with all eight groups, and '-' for ':'."""
    return address.exploded.replace(":", "-")


def vip_address(name: str) -> Address:
    """The address that a VirtualIP is named by. ValueError if it is none."""
    return ip_address(name.replace("-", ":"))


def order(address: Address) -> tuple[int, int]:
    """Sort key of mixed families: IPv4 before IPv6, each ascending (comparing the two directly raises)."""
    return address.version, int(address)


def truthy(annotations: Mapping[str, str], key: str) -> bool:
    """Whether an annotation is switched on, as Go's strconv.ParseBool reads it; what cannot be read is off."""
    return annotations.get(key, "").strip() in {"1", "t", "T", "true", "TRUE", "True"}
