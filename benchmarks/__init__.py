"""Measurements: ``make bench``. What is compared is measured in turn, in one run, on one server."""
