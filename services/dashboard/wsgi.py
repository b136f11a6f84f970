"""What gunicorn serves: `services.dashboard.wsgi:application`."""

import os

from services.common.settings import load
from services.dashboard.app import create_app
from services.dashboard.settings import DashboardDatabaseSettings, DashboardSettings

application = create_app(load(DashboardSettings, os.environ), load(DashboardDatabaseSettings, os.environ))
