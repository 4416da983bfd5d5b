# opdkit in a container.
#   CPU:   docker build -t opdkit .
#   CUDA:  docker build -t opdkit:cuda --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 \
#            --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#   Run:   docker run --rm -it -v "$PWD/runs:/work/runs" opdkit train
ARG BASE=ubuntu:24.04
FROM ${BASE}

# The index that torch comes from, and opdkit's extras, for example EXTRAS=[lora,openai].
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=""

# Python from the distribution. Java plays the text games, bubblewrap keeps programs in.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap ca-certificates default-jre-headless python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/opdkit/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY opdkit opdkit
COPY conf conf
RUN python3 -m venv /opt/opdkit \
 && pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch \
 && pip install --constraint constraints.txt ".${EXTRAS}" \
 && useradd --create-home --uid 10001 opdkit \
 && install -d -o opdkit /work

USER 10001
WORKDIR /work
ENTRYPOINT ["opdkit"]
CMD ["--help"]
