"""Settings of the service. Everything is read from the environment; nothing has to be set.

Without configuration: SQLite and artifacts below ``var/``, and tasks that run inside the calling
process. With ``DATABASE_URL`` and ``CERES_BROKER_URL``: PostgreSQL, Redis and as many workers as
there are machines.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from ceres import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent


def _folder(value: str) -> Path:
    """Return an absolute folder; relative ones count from the repository root."""
    return BASE_DIR / Path(value).expanduser()


CERES_VAR = _folder(env.text("CERES_VAR", "var"))
CERES_VAR.mkdir(parents=True, exist_ok=True)

# Security


def _own_secret_key() -> str:
    """Return the key of this installation, made at the first start and kept in ``var/``."""
    path = CERES_VAR / "secret_key"
    if not path.exists():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was quicker
            return path.read_text(encoding="utf-8")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(64))
    return path.read_text(encoding="utf-8")


DEBUG = env.flag("DEBUG")
SECRET_KEY = env.secret("SECRET_KEY") or _own_secret_key()
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")

CERES_HTTPS = env.flag("CERES_HTTPS")
"""The site is reached through https (behind a proxy that sets X-Forwarded-Proto)."""

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = CERES_HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if CERES_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = CERES_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CERES_HTTPS else None
SECURE_REDIRECT_EXEMPT = [r"^health/$"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF, "blob:"],
        "worker-src": [SELF, "blob:"],
        "font-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# Application

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "django_filters",
    "django_htmx",
    "django_tables2",
    "ceres",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "ceres.urls"
WSGI_APPLICATION = "ceres.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]
DJANGO_TABLES2_TEMPLATE = "django_tables2/bootstrap5.html"
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Database


def _database() -> dict[str, Any]:
    """Return the database of DATABASE_URL, SQLite below ``var/`` without one."""
    url = env.secret("DATABASE_URL") or f"sqlite:///{quote(str(CERES_VAR / 'ceres.sqlite3'))}"
    database: dict[str, Any] = environ.Env.db_url_config(url)
    if password := env.secret("DATABASE_PASSWORD"):
        database["PASSWORD"] = password
    engine = database.get("ENGINE", "")
    if engine.endswith("sqlite3"):
        # Write transactions take the lock at once: readers that become writers would fail, not wait.
        database["OPTIONS"] = {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000;",
        }
    elif engine.endswith("postgresql"):
        database["OPTIONS"] = {**database.get("OPTIONS", {}), "pool": {"min_size": 0, "max_size": 8, "timeout": 30}}
    else:
        message = f"DATABASE_URL names {urlsplit(url).scheme!r}; SQLite and PostgreSQL are supported."
        raise ImproperlyConfigured(message)
    return database


DATABASES = {"default": _database()}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# Files


def _artifact_storage() -> dict[str, Any]:
    """Return Django's description of CERES_STORAGE: ``file:FOLDER`` or ``s3://BUCKET/PREFIX``."""
    endpoint = env.text("CERES_S3_ENDPOINT")
    scheme, _, rest = (env.text("CERES_STORAGE") or f"file:{CERES_VAR / 'artifacts'}").partition(":")
    if scheme == "file":
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": _folder(rest), "file_permissions_mode": 0o644},
        }
    if scheme == "s3":
        bucket, _, prefix = rest.removeprefix("//").partition("/")
        options = {"bucket_name": bucket, "location": prefix, "file_overwrite": True, "default_acl": None}
        if endpoint:
            options["endpoint_url"] = endpoint
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    message = f"CERES_STORAGE begins with {scheme!r}; write file:FOLDER or s3://BUCKET/PREFIX."
    raise ImproperlyConfigured(message)


STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns about a folder that is not there
STATICFILES_DIRS = [BASE_DIR / "static"]
_COLLECTED = env.flag("CERES_COLLECT_STATIC", default=(STATIC_ROOT / "staticfiles.json").exists())
"""Static files are collected, hashed and compressed; otherwise served from where they are."""

WHITENOISE_USE_FINDERS = not _COLLECTED
STORAGES = {
    "artifacts": _artifact_storage(),
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage",
    },
}

# Pipeline


def _mirror(value: str) -> str:
    """Return an archive: a URL or the word public as it is, a folder as an absolute path, "" for none."""
    if value in {"", "public"} or value.startswith(("http://", "https://")):
        return value
    return str(_folder(value).resolve())


CERES_ARCHIVE = ",".join(map(_mirror, env.names("CERES_ARCHIVE")))
CERES_PDB_DIR = _mirror(env.text("CERES_PDB_DIR"))
CERES_EMDB_DIR = _mirror(env.text("CERES_EMDB_DIR"))
"""Copies of one archive each, such as a mirror kept with rsync, that are asked before CERES_ARCHIVE."""

CERES_CACHE_GB = env.integer("CERES_CACHE_GB", 50)
"""Downloaded files beyond so many gigabytes (10⁹ bytes) are evicted; 0 for no limit."""

CERES_CONNECTIONS = env.integer("CERES_CONNECTIONS", 4, minimum=1)
"""To one server of an archive at a time, of all processes on a machine together."""

CERES_CACHE = _folder(env.text("CERES_CACHE") or str(CERES_VAR / "cache"))
os.environ.setdefault("CERES_CACHE", str(CERES_CACHE))  # the engine, which knows no settings, keeps dictionaries there
CERES_WORK = CERES_VAR / "work"
CERES_STRICT = env.flag("CERES_STRICT")
"""Curate with the rules of 2020 taken literally."""

CERES_PROTOCOL = env.text("CERES_PROTOCOL", "default")
CERES_THREADS = env.integer("CERES_THREADS", 0)
"""Threads of one refinement; 0 for all cores."""

CERES_SEED = env.integer("CERES_SEED", 0)
CERES_LEASE_SECONDS = env.integer("CERES_LEASE_SECONDS", 180, minimum=1)
CERES_MAX_ATTEMPTS = env.integer("CERES_MAX_ATTEMPTS", 3, minimum=1)
CERES_LARGE_ATOMS = env.integer("CERES_LARGE_ATOMS", 250_000)
CERES_LARGE_VOXELS = env.integer("CERES_LARGE_VOXELS", 512**3)
"""From this size on a job goes to the queue ``large``."""

CERES_MEMORY_GB = env.integer("CERES_MEMORY_GB", 0)
"""A refinement that takes more gigabytes (10⁹ bytes) ends as failed; 0 for 85 % of what the machine or the container has."""

CERES_DEMO_PORT = env.integer("CERES_DEMO_PORT", 8000, minimum=1)
CERES_DEMO_SERVE = env.flag("CERES_DEMO_SERVE", default=True)
CERES_ALLOW_EAGER = env.flag("CERES_ALLOW_EAGER")

# Celery

CERES_BROKER_URL = env.secret("CERES_BROKER_URL")
CERES_TASK_TIME_LIMIT = env.integer("CERES_TASK_TIME_LIMIT", 24 * 3600, minimum=60)
CELERY_BROKER_URL = CERES_BROKER_URL or "memory://localhost"
CELERY_TASK_ALWAYS_EAGER = not CERES_BROKER_URL
CELERY_TASK_EAGER_PROPAGATES = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = CERES_TASK_TIME_LIMIT
CELERY_TASK_DEFAULT_QUEUE = "small"
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), routing_key=name) for name in ("small", "large")]
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 50
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Redis gives a message out again after this time: it must be longer than the longest task.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": int(1.1 * CERES_TASK_TIME_LIMIT)}
CELERY_BEAT_SCHEDULE = {"reap": {"task": "ceres.reap", "schedule": 60.0, "options": {"expires": 55}}}
CELERY_BEAT_SCHEDULE_FILENAME = str(CERES_VAR / "beat-schedule")

# Log

LOG_LEVEL = env.text("LOG_LEVEL", "WARNING").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"ceres": {"level": LOG_LEVEL}, "django.request": {"level": "ERROR"}},
}

ENVIRONMENT: frozenset[str] = env.names_read()
"""Names of all the variables that these settings read."""
