"""The rows, in the order of the table: importing this package fills `tests.processes.table.ROWS`."""

from tests.processes.rows import kills as kills
