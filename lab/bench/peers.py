"""What the peers did in the same lab, quoted: three nodes on two cores, one dual-stack Service unless said. No I/O."""

_POWER_OFF = (
    "kube-vip with an election per Service 15.0 to 16.8 s (15/10/2, its default), 5.2 to 6.1 s (5/3/1);"
    " MetalLB L2 5.6 to 5.7 s; [keepalived 2.8 to 2.9 s at 1 s adverts, 0.31 to 0.34 s at 0.1 s]; client's gap"
)
_LINK_DOWN = (
    "kube-vip never moved (58 s watched); MetalLB 5.9 to 6.6 s, and two claimants for 6.2 s when the link returns;"
    " [keepalived 2.8 to 2.9 s, 0.27 to 0.36 s]; client's gap"
)
_REQUESTS = "kube-vip 331 a second (281 GET and 50 PUT of Leases) and 1,000 watches; MetalLB 0.2 a second, 120 watches"
PEERS = {
    "power-off": _POWER_OFF,
    "power-off-fast": _POWER_OFF,
    "power-off-leased": _POWER_OFF,
    "link-down": _LINK_DOWN,
    "link-down-leased": _LINK_DOWN,
    "hand-over": (
        "asked to stop (SIGTERM): kube-vip gap 0, no answer to ARP for 0.3 s; MetalLB gap 0, two claimants for 0.3 s;"
        " [keepalived gap 0, no answer to ARP for 0.67 s at 1 s adverts, 0.08 s at 0.1 s]"
    ),
    "sigkill": (
        "kube-vip gap 0, two claimants for good; MetalLB gap 0 for who knows the MAC, no answer to ARP for 5.7 to 6.7 s"
        ", never two; [keepalived gap 0, two claimants for good]"
    ),
    "yardstick": "197 a second where the peers were measured",
    "burst": (
        "MetalLB's controller 37 to 45 a second, p50 3.9 to 4.9 s, p99 5.1 to 9.4 s; kube-vip's cloud provider"
        " 1.3 a second, and 9 addresses for 104 Services when run with 20 workers"
    ),
    "first-reply": "kube-vip 6 ms median, 11 ms worst; MetalLB 11 ms median, 31 ms worst",
    "requests": _REQUESTS,
    "requests-far": _REQUESTS,
    "requests-leased": _REQUESTS,
    "cost": (
        "kube-vip's agent 28 mcore, 65 MB; MetalLB's speaker 3.7 mcore, 70 MB, its controller 54 MB (1 Service);"
        " keepalived 1.2 mcore, 13 MB (1 VIP)"
    ),
}
