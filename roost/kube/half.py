"""Of the distribution ``kubernetes`` the half for asyncio: the package itself would import the other, 10 MB of it.

``kubernetes/__init__.py`` does nothing but import its parts. One that is not run serves as well to find the parts that
are asked for; whatever imports another, ``kubernetes.client`` say, finds that too.
"""

import importlib.util
import sys

if "kubernetes" not in sys.modules and (found := importlib.util.find_spec("kubernetes")) is not None:
    sys.modules["kubernetes"] = importlib.util.module_from_spec(found)

from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

__all__ = ["ApiClient", "ConfigException", "Configuration", "load_incluster_config", "load_kube_config"]
