"""What people look at: the layout of each page, without data, and what happens on it."""

from typing import Final

from services.dashboard.pages import account, connect, history, live, phones, sessions
from services.dashboard.pages.page import Page, Services

__all__ = ["PAGES", "Page", "Services"]

PAGES: Final = (live.PAGE, history.PAGE, sessions.PAGE, phones.PAGE, connect.PAGE, account.PAGE)
"""Every page, in the order of the navigation."""
