"""Settings of the bank."""

import json
import os

SECRET_KEY = "for the tests alone"
INSTALLED_APPS = ["bank"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["BANK_PORT"],
        "USER": "shop",
        "NAME": "postgres",
        "CONN_MAX_AGE": json.loads(os.environ["BANK_MAX_AGE"]),
        "OPTIONS": json.loads(os.environ.get("BANK_OPTIONS", "{}")),
    }
}
USE_TZ = True
