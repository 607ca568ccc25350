"""The service: pipeline, database, website and API."""
