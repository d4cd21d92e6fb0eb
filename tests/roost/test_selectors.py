import pytest

from roost.kube.wire import Requirement, Selector
from roost.selectors import selects


def needs(key: str, operator: str, *values: str) -> Selector:
    return Selector(match_expressions=(Requirement(key=key, operator=operator, values=values),))


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        pytest.param(None, {}, True, id="no selector picks everything"),
        pytest.param(Selector(), {"a": "1"}, True, id="an empty selector picks everything"),
        pytest.param(Selector(match_labels={"a": "1"}), {"a": "1", "b": "2"}, True, id="label as asked"),
        pytest.param(Selector(match_labels={"a": "1"}), {"a": "2"}, False, id="label with another value"),
        pytest.param(Selector(match_labels={"a": "1"}), {}, False, id="label missing"),
        pytest.param(needs("a", "In", "1", "2"), {"a": "2"}, True, id="In, one of them"),
        pytest.param(needs("a", "In", "1", "2"), {}, False, id="In, missing"),
        pytest.param(needs("a", "NotIn", "1"), {"a": "2"}, True, id="NotIn, another"),
        pytest.param(needs("a", "NotIn", "1"), {}, True, id="NotIn, missing"),
        pytest.param(needs("a", "NotIn", "1"), {"a": "1"}, False, id="NotIn, that one"),
        pytest.param(needs("a", "Exists"), {"a": ""}, True, id="Exists, empty value"),
        pytest.param(needs("a", "Exists"), {}, False, id="Exists, missing"),
        pytest.param(needs("a", "DoesNotExist"), {}, True, id="DoesNotExist, missing"),
        pytest.param(needs("a", "DoesNotExist"), {"a": "1"}, False, id="DoesNotExist, there"),
        pytest.param(needs("a", "Near", "1"), {"a": "1"}, False, id="an operator nobody knows picks nothing"),
    ],
)
def test_selects(selector: Selector | None, labels: dict[str, str], expected: bool) -> None:
    assert selects(selector, labels) is expected
