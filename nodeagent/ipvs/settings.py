"""What can be set about the balancing of the API servers: kube-vip's names are accepted too. No I/O."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from roost.values import also

_PORTS = range(1, 1 << 16)


class Forwarding(StrEnum):
    """How a connection gets to its backend (linux/ip_vs.h, IP_VS_CONN_F_FWD_MASK)."""

    LOCAL = "local"
    MASQUERADE = "masquerade"
    TUNNEL = "tunnel"
    DIRECT = "directroute"
    BYPASS = "bypass"


class Scheduler(StrEnum):
    """How the backend of a new connection is chosen; each is a module of the kernel, ip_vs_<name>."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    WLC = "wlc"
    FO = "fo"
    OVF = "ovf"
    LBLC = "lblc"
    LBLCR = "lblcr"
    DH = "dh"
    SH = "sh"
    MH = "mh"
    SED = "sed"
    NQ = "nq"


class Check(StrEnum):
    """What a backend is asked: a path of the API server's, or only for a connection."""

    READYZ = "readyz"
    LIVEZ = "livez"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Settings:
    """The balancing of the API servers behind the control plane's address."""

    lb_enable: bool = field(default=False, metadata=also("lb_enable"))
    """Balance connections to the control plane's address over all API servers (IPVS, on the node that holds it)."""

    lb_port: int = field(default=6443, metadata=also("lb_port"))
    """Port of the control plane's address on which connections are balanced."""

    lb_forwarding: Forwarding = field(default=Forwarding.LOCAL, metadata=also("lb_fwdmethod"))
    """local: this node's own API server alone; masquerade: all, whatever the network; tunnel and directroute: all, and
    each answers clients itself, for which it must have the address on lo; bypass: routed on to the address itself."""

    lb_scheduler: Scheduler = Scheduler.RR
    """The kernel's scheduler: which backend gets a new connection."""

    lb_check: Check = Check.READYZ
    """What each API server is asked: readyz or livez (HTTPS), or tcp, whether it takes connections."""

    lb_check_ca: Path | None = None
    """File with the cluster's CA, with which the answer of readyz and livez is verified. Unset: it is not."""

    lb_check_name: str = "kubernetes.default.svc"
    """Name that the certificate of every API server bears."""

    lb_check_period: float = field(default=2.0, metadata=also("backend_health_check_interval"))
    """Seconds between two checks of an API server. One that refuses connections gets no more of them at once."""

    lb_check_timeout: float = 1.0
    """Seconds after which a check that was not answered has failed."""

    lb_check_failures: int = 3
    """So many failed checks in a row take an API server out. After the first the others follow within one period."""

    lb_check_successes: int = 2
    """So many answers in a row bring it back."""

    lb_drain: float = 30.0
    """Seconds that connections to an API server that was taken out may live on, at most."""

    def __post_init__(self) -> None:
        if self.lb_port not in _PORTS:
            raise ValueError(f"lb-port must be a number from 1 to {_PORTS[-1]}")
        for name in ("lb_check_period", "lb_check_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name.replace('_', '-')} must be more than 0 seconds")
        for name in ("lb_check_failures", "lb_check_successes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be 1 or more")
        if not self.lb_drain >= 0:
            raise ValueError("lb-drain must be 0 seconds or more")
