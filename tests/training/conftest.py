"""Tiny models here too."""

from tests.models.conftest import one_thread  # noqa: F401  (a fixture, found by its name)
