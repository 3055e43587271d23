"""Other people's tools, each behind a small interface and in an extra of its own: experiment trackers."""

from preceptor.integrations.callback import TrackerCallback
from preceptor.integrations.tracker import TRACKERS, Tracker
from preceptor.integrations.tracking import tracking

__all__ = ["TRACKERS", "Tracker", "TrackerCallback", "tracking"]
