# Both programs in one image; the chart says which of them a Pod runs. Build: docker build -t REGISTRY/roost-lb:0.1.0 .
FROM python:3.13-slim-trixie AS build
WORKDIR /src
RUN python -m venv /opt/roost
COPY pyproject.toml README.md LICENSE ./
COPY roost roost
COPY cloudprovider cloudprovider
COPY nodeagent nodeagent
COPY kubectl_roost kubectl_roost
# Compiled here, because the Pods' file systems are read-only.
RUN /opt/roost/bin/pip install --no-cache-dir . && /opt/roost/bin/python -m compileall -q /opt/roost/lib

FROM python:3.13-slim-trixie
# The agent says its gate in nft's own language; roost-gobgpd, beside it in its Pod where BGP is on, keeps a gobgpd.
RUN apt-get update && apt-get install --yes --no-install-recommends nftables gobgpd && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/roost /opt/roost
ENV PATH=/opt/roost/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The controller needs no more; the agent's Pod asks for root with NET_ADMIN and NET_RAW alone.
USER 65532:65532
CMD ["roost", "--help"]
