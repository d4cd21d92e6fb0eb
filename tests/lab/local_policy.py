"""What kube-proxy says of Services with policy Local, asked as an agent asks, and a program that says it instead."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from lab.cluster import Lab
from lab.run import Process, wait_for
from tests.lab.kube_vip import one_claimant, serve
from tests.lab.shop import FOUR, SIX, Shop, Wanted

ASK = """
import asyncio, sys
from ipaddress import ip_address
from nodeagent.services.apply import ask
from nodeagent.services.plan import Check
name, version, port, *addresses = sys.argv[1:]
check = Check(("default", name), int(version), int(port), tuple(map(ip_address, addresses)))
print(asyncio.run(ask(check)))
"""

SAY_NO = """
import http.server, json, socket, sys
name, port = sys.argv[1:]
text = json.dumps({"service": {"namespace": "default", "name": name}, "localEndpoints": 0}).encode()
class No(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", int(port)), No).serve_forever()
"""


def port_of(shop: Shop, name: str) -> str:
    return str(shop.service(name)["spec"]["healthCheckNodePort"])


def told(shop: Shop, name: str, node: str, version: int) -> str:
    """What kube-proxy on *node* answers about a Service: True, False, or None."""
    leg = shop.lab.nodes[node].leg("data")
    own, loopback = (leg.address4, "127.0.0.1") if version == 4 else (leg.address6, "::1")
    return shop.lab.run_in(
        node, sys.executable, "-c", ASK, name, str(version), port_of(shop, name), loopback, str(own)
    ).strip()


def assert_kube_proxy_says_where_the_endpoints_are(shop: Shop) -> None:
    shop.lab.add_backend("told-0", "n1")
    serve(shop, Wanted("told", (FOUR, SIX), "Local", app="told"))
    for version in (4, 6):
        wait_for("yes where the endpoint is", partial(says, shop, "n1", version, "True"), every=0.1)
        wait_for("no elsewhere", partial(says, shop, "n2", version, "False"), every=0.1)
    shop.delete("told")
    shop.lab.remove_backend("told-0")


def says(shop: Shop, node: str, version: int, expected: str) -> bool:
    return told(shop, "told", node, version) == expected


def assert_the_word_of_kube_proxy_counts(shop: Shop) -> None:
    """Without kube-proxy the EndpointSlices alone count; where it says no, another node with an endpoint holds."""
    nodes = {"n1", "n2"}
    for node in nodes:
        shop.lab.add_backend(f"word-{node}", node)
    addresses = serve(shop, Wanted("word", (FOUR, SIX), "Local", app="word"))
    holder = shop.wait_held(addresses[0], nodes)
    (other,) = nodes - {holder}
    with one_claimant(shop, *addresses) as watch, without_kube_proxy(shop.lab, holder):
        wait_for("nobody answers about it", lambda: told(shop, "word", holder, 4) == "None")
        with shop.lab.client(addresses[0]) as client:
            client.wait_for_success(count=200)  # longer than any question waits
        assert {shop.holder(address) for address in addresses} == {holder}, "its rules are in the kernel still"
        no = shop.lab.nodes[holder].start("no", sys.executable, "-c", SAY_NO, "word", port_of(shop, "word"))
        for address in addresses:
            shop.wait_held(address, {other})
            shop.wait_answer(address, by=f"word-{other}")
        watch.check()
        shop.lab.remove_backend(f"word-{other}")
        shop.wait_condition("word", "Announced", "False", "NoLocalEndpoint")
        shop.wait_gone(*addresses)
        no.sigkill()
        for address in addresses:
            shop.wait_held(address, {holder})
            shop.wait_answer(address, by=f"word-{holder}")
    shop.delete("word")
    shop.lab.remove_backend(f"word-{holder}")


@contextmanager
def without_kube_proxy(lab: Lab, node: str) -> Iterator[None]:
    one = lab.nodes[node]
    proxy = kube_proxy(lab, node)
    proxy.sigkill()
    yield
    one.start_kube_proxy(lab.binaries, lab.control.pki.path("kube-proxy.kubeconfig"), lab.proxy)
    lab.wait_for_proxies(node)


def kube_proxy(lab: Lab, node: str) -> Process:
    return next(p for p in lab.nodes[node].processes if p.name.endswith("kube-proxy") and p.running)
