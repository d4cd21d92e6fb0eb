"""Label selectors, as Kubernetes reads them (apimachinery/pkg/apis/meta/v1, LabelSelectorAsSelector)."""

from collections.abc import Mapping

from roost.kube.wire import Requirement, Selector


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether *selector* picks an object with these *labels*; absent and empty pick everything."""
    if selector is None:
        return True
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions
    )


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":  # also met where the label is missing
            return labels.get(requirement.key) not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
    return False
