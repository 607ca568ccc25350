"""The settings of the service with an engine that does nothing, slowly if it is told to."""

from ceres.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "slow_engine.apps.SlowEngineConfig"]  # noqa: F405
