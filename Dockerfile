# One image for the site, the workers and the schedule.

FROM node:22-bookworm-slim AS browser
WORKDIR /ceres
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tools/vendor_static.py tools/
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && python3 tools/vendor_static.py

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 ceres
WORKDIR /ceres
COPY pyproject.toml README.md LICENSE ./
COPY ceres ceres
COPY curation curation
COPY refinement refinement
COPY templates templates
COPY static static
COPY manage.py ./
COPY --from=browser /ceres/static/vendor static/vendor
RUN pip install --no-cache-dir --editable ".[postgres,s3]" \
    && mkdir --parents var staticfiles /home/ceres/.cache \
    && chown ceres var staticfiles /home/ceres/.cache
USER ceres
RUN SECRET_KEY=only-to-collect CERES_COLLECT_STATIC=1 python manage.py collectstatic --no-input
EXPOSE 8000
CMD ["gunicorn", "ceres.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4"]
