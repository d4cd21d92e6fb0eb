"""Roost's own programs can be started in the lab, with the identities and rights that are shipped."""

from functools import partial
from urllib.error import URLError

from lab.cluster import Lab
from lab.programs import CONTROLLER
from lab.run import wait_for


def answers(lab: Lab, name: str) -> bool:
    try:
        return bool(lab.fetch("control", f"http://127.0.0.1:{lab.health_port(name)}/livez"))
    except URLError:
        return False


def test_several_controllers_run_beside_each_other_as_their_service_account(lab: Lab) -> None:
    meter = lab.api_requests()
    for name in ("a", "b"):
        lab.start_controller(name)
    for name, process in lab.controllers.items():
        wait_for(f"controller {name} lives", partial(answers, lab, name), alive=[process], every=0.1)
    counted = wait_for("they ask the API", lambda: meter.count(CONTROLLER), every=0.1)
    assert "services" in {request.resource for request in counted}
    lab.controllers["a"].sigkill()
    assert not answers(lab, "a")
    assert lab.start_controller("a").running
    wait_for("it lives again", lambda: answers(lab, "a"), alive=[lab.controllers["a"]], every=0.1)
    assert [process.stop() for process in lab.controllers.values()] == [0, 0]
