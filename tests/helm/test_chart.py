"""The chart as it stands in the tree: values and schema agree, and its kinds and names are those of the code."""

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import cloudprovider.settings
import nodeagent.settings
from roost import options, words
from roost.kube import wire, wire_bgp
from roost.kube.resource import Resource

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "roost"
TEMPLATES = CHART / "templates"
KINDS = [
    wire.ADDRESSPOOLS,
    wire.VIRTUALIPS,
    wire.SEGMENTS,
    wire.NODEAGENTS,
    wire_bgp.BGPPEERS,
    wire_bgp.BGPADVERTISEMENTS,
]


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text()))


def schema() -> dict[str, Any]:
    """Without `global`, which Helm adds to the values of a chart that is part of another."""
    whole = dict(json.loads((CHART / "values.schema.json").read_text()))
    whole["properties"].pop("global")
    return whole


def definition(kind: str) -> dict[str, Any]:
    """A CRD's template as YAML: the lines of Helm's language say nothing about the schema."""
    text = (TEMPLATES / "crds" / f"{kind}.yaml").read_text()
    return dict(yaml.safe_load("\n".join(line for line in text.splitlines() if "{{" not in line)))


def described(value: object, schema: dict[str, Any], root: dict[str, Any], at: str = "") -> Iterator[str]:
    """The paths of values that the schema does not name."""
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            if key not in schema["properties"]:
                yield f"{at}.{key}"
            else:
                yield from described(inner, schema["properties"][key], root, f"{at}.{key}")


def test_every_value_is_in_the_schema() -> None:
    assert list(described(values(), schema(), schema())) == []


def test_every_property_of_the_schema_is_a_value() -> None:
    known, found = schema()["properties"], values()
    assert set(known) == set(found)
    assert {name: set(part.get("properties", ())) for name, part in known.items()} == {
        k: set(v) for k, v in found.items()
    }


def test_every_object_of_the_schema_refuses_what_it_does_not_know() -> None:
    parts = [schema(), *schema()["properties"].values()]
    assert [part for part in parts if part.get("additionalProperties") is not False] == []


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in pairwise(lines)
        if line.startswith("  ") and line[2].isalpha() and not before.lstrip().startswith("#")
    ]
    assert bare == []


def test_chart_package_and_programs_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {chart["version"], chart["appVersion"], package} == {words.VERSION}


def unknown_fields(type_: msgspec.inspect.Type, schema: dict[str, Any], at: str) -> Iterator[str]:
    """Fields that our Structs write and the server would drop, as the schema does not have them."""
    match type_:
        case msgspec.inspect.UnionType(types):
            for one in types:
                yield from unknown_fields(one, schema, at)
        case msgspec.inspect.VarTupleType(item_type=item):
            yield from unknown_fields(item, schema["items"], f"{at}[]")
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                inner = schema["properties"].get(field.encode_name)
                if inner is None:
                    yield f"{at}.{field.encode_name}"
                else:
                    yield from unknown_fields(field.type, inner, f"{at}.{field.encode_name}")
        case _:
            return


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
def test_every_field_that_the_programs_know_is_in_the_definition(resource: Resource[Any]) -> None:
    (version,) = definition(resource.plural)["spec"]["versions"]
    whole = msgspec.inspect.type_info(resource.type)
    assert isinstance(whole, msgspec.inspect.StructType)
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    parts = [field for field in whole.fields if field.encode_name in {"spec", "status"}]
    assert [name for part in parts for name in unknown_fields(part.type, properties[part.name], part.name)] == []


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
def test_a_definition_has_the_names_that_the_programs_ask_for(resource: Resource[Any]) -> None:
    spec = definition(resource.plural)["spec"]
    assert (spec["group"], spec["names"]["plural"], spec["names"]["kind"]) == (
        resource.group,
        resource.plural,
        resource.kind,
    )
    assert [version["name"] for version in spec["versions"]] == [resource.version]
    assert (spec["scope"] == "Namespaced") is resource.namespaced


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
def test_a_definition_outlives_the_chart(resource: Resource[Any]) -> None:
    assert definition(resource.plural)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("policies/nodeagent-own-node.yaml", f"system:serviceaccount:{words.NAMESPACE}:roost-nodeagent"),
        ("policies/nodeagent-segments.yaml", f"system:serviceaccount:{words.NAMESPACE}:roost-nodeagent"),
        ("policies/nodeagent-leases.yaml", f"system:serviceaccount:{words.NAMESPACE}:roost-nodeagent"),
        ("policies/nodeagent-leases.yaml", f"kubernetes.io/metadata.name: {words.NODE_LEASE_NAMESPACE}"),
        ("policies/nodeagent-leases.yaml", f"'{words.TENURE}'"),
        ("policies/nodeagent-leases.yaml", f"'{words.ENDED}'"),
        ("policies/cloudprovider-no-spec.yaml", f"system:serviceaccount:{words.NAMESPACE}:roost-cloudprovider"),
        ("policies/cloudprovider-no-spec.yaml", f"'{words.FINALIZER}'"),
        ("cloudprovider/rbac.yaml", f"resourceNames: [{words.CONTROLLER_LEASE}]"),
        ("nodeagent/key.yaml", f"name: {words.SEGMENT_KEY}"),
        ("nodeagent/rbac.yaml", f"resources: [secrets], resourceNames: [{words.SEGMENT_KEY}]"),
        ("namespaces.yaml", f"name: {words.NAMESPACE}"),
        ("namespaces.yaml", f"name: {words.NODE_LEASE_NAMESPACE}"),
    ],
)
def test_the_chart_and_the_programs_mean_the_same_names(file: str, word: str) -> None:
    assert word in (TEMPLATES / file).read_text()


@pytest.mark.parametrize(
    ("template", "settings"),
    [
        pytest.param("cloudprovider/deployment.yaml", cloudprovider.settings.Settings, id="controller"),
        pytest.param("nodeagent/daemonset.yaml", nodeagent.settings.Settings, id="agent"),
    ],
)
def test_every_flag_that_the_chart_gives_is_one(template: str, settings: type[Any]) -> None:
    given = re.findall(r"^ +- --([a-z-]+)=", (TEMPLATES / template).read_text(), re.MULTILINE)
    assert given
    assert set(given) <= {option.name for option in options.describe(settings)} | {"config"}
