"""The pages: read-only, server-rendered, complete without JavaScript."""
