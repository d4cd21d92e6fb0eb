"""What can be set, under our names and under kube-vip's."""

from dataclasses import fields, replace

import pytest

from nodeagent.ipvs.settings import Forwarding, Settings
from roost import values

KUBE_VIP = {
    "lb_enable": ("true", "lb_enable", True),
    "lb_port": ("7443", "lb_port", 7443),
    "lb_fwdmethod": ("masquerade", "lb_forwarding", Forwarding.MASQUERADE),
    "backend_health_check_interval": ("5", "lb_check_period", 5.0),
}


@pytest.mark.parametrize("name", KUBE_VIP)
def test_kube_vips_names_reach_the_setting_that_they_name(name: str) -> None:
    text, setting, expected = KUBE_VIP[name]
    (found,) = (one for one in fields(Settings) if name in one.metadata.get(values.ALSO, ()))
    assert found.name == setting
    hints = {one.name: type(getattr(Settings(), one.name)) for one in fields(Settings)}
    assert values.read(hints[setting], text) == expected


@pytest.mark.parametrize("word", ["local", "masquerade", "tunnel", "directroute", "bypass", "Masquerade"])
def test_kube_vips_ways_of_forwarding(word: str) -> None:
    assert values.read(Forwarding, word) == word.lower()


BAD = {
    "lb_port": (0, "lb-port must be a number from 1 to 65535"),
    "lb_check_period": (0.0, "lb-check-period must be more than 0 seconds"),
    "lb_check_timeout": (float("nan"), "lb-check-timeout must be more than 0 seconds"),
    "lb_check_failures": (0, "lb-check-failures must be 1 or more"),
    "lb_check_successes": (0, "lb-check-successes must be 1 or more"),
    "lb_drain": (-1.0, "lb-drain must be 0 seconds or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    value, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        replace(Settings(), **{name: value})  # type: ignore[arg-type]
