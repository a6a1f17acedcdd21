"""The tests. Fixtures are in conftest.py, what they are made of in support/."""
