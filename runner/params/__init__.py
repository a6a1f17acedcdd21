"""The params of a submission: read, checked, and put into placeholders."""
