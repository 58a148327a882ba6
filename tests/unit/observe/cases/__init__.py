"""For each alert: series in which it fires and what it then says, and series in which it does not fire."""

from __future__ import annotations

from tests.unit.observe.cases.callers import CALLERS, PROMISE
from tests.unit.observe.cases.lead import LEAD
from tests.unit.observe.cases.outside import OUTSIDE
from tests.unit.observe.cases.workers import CAPACITY, DRAINS, WORKERS

CASES = (*CALLERS, *PROMISE, *CAPACITY, *WORKERS, *DRAINS, *LEAD, *OUTSIDE)
