# The CPU image:
#
#     docker build -t vehicle-lightning .
#     docker run --rm -v "$PWD/photos:/app/photos:ro" -v "$PWD/logs:/app/logs" \
#         vehicle-lightning fit --data-dir photos --dropout 0.5 --batchnorm
#
# TORCH_INDEX may name the index of PyTorch's CPU wheels, a tenth of the size of those for GPUs.
FROM python:3.12-slim

ARG TORCH_INDEX
WORKDIR /opt/vehicle_lightning
COPY pyproject.toml README.md LICENSE ./
COPY vehicle_lightning vehicle_lightning
COPY experiments experiments
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[export,sweep]"

ENV VEHICLE_LIGHTNING_CACHE=/cache
RUN useradd --create-home person && mkdir -p /cache /app/logs && chown person /cache /app /app/logs
USER person
WORKDIR /app
ENTRYPOINT ["python", "-m", "vehicle_lightning"]
CMD ["--help"]
