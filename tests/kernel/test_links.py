"""VLANs and bonds as uplinks, and the rest once more, in the kernel of the box."""

import pytest

from tests.lab.links_in_kernel import (
    Build,
    LinksContract,
    addresses,
    bond,
    bridge,
    macvlan,
    tower,
    vlan,
    vlan_on_bond,
    wire,
)

__all__ = ["addresses", "tower", "wire"]

BUILDS: tuple[Build, ...] = (vlan, bond, vlan_on_bond, bridge, macvlan)


@pytest.mark.parametrize("tower", BUILDS, indirect=True, ids=lambda build: build.__name__)
class TestLinks(LinksContract):
    pass
