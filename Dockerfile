# docker build -t yolo-nas .                          for a CPU
# docker build -t yolo-nas --build-arg TORCH=cuda .   for NVIDIA's GPUs, by the build of PyPI
# docker run --rm -v "$PWD:/work" yolo-nas nas-search model=yolo11n.pt data=my.yaml
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# cpu, cuda, or a CUDA of PyTorch's own index such as cu128.
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore YOLO_AUTOINSTALL=false YOLO_CONFIG_DIR=/tmp
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
COPY . .

# hadolint ignore=SC2046
RUN pip install -c .ci/constraints.txt torch torchvision $([ "${TORCH}" = cuda ] || echo "--index-url https://download.pytorch.org/whl/${TORCH}")
RUN pip install -c .ci/constraints.txt .
# Ultralytics and albumentations bring an OpenCV each; one stays, which needs no display.
# hadolint ignore=DL3013
RUN pip uninstall --yes opencv-python opencv-python-headless && pip install opencv-python-headless

WORKDIR /work
ENTRYPOINT ["yolo"]
CMD ["help"]
