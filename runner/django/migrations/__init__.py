"""Migrations of the app. One that changes tables runs the archive's own steps."""
