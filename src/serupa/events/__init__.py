"""What shoppers did, as a shop may keep it: a log without anything of theirs, and what it says."""

from serupa.events.insights import Asked, Insights, followed_together, insights_of
from serupa.events.log import Click, EventLog, Purchase, Search

__all__ = ["Asked", "Click", "EventLog", "Insights", "Purchase", "Search", "followed_together", "insights_of"]
