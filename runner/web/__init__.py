"""The dashboard and the REST API (extra ``web``)."""
