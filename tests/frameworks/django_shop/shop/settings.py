"""Settings of the shop."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "for the tests alone"
ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# Another database than the runner's: both take from a list named celery.
CELERY_BROKER_URL = os.environ["SHOP_BROKER_URL"]
CELERY_RESULT_BACKEND = os.environ["SHOP_BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
