"""The rows: importing this package fills `tests.processes.table.ROWS`, in the order of these modules."""

from importlib import import_module

for module in (
    "kills",
    "pauses",
    "livekit",
    "stores",
    "requests",
    "capacity",
    "agents",
    "webhooks",
    "clocks",
    "network",
    "rolling",
):
    import_module(f"{__name__}.{module}")
