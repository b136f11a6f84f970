"""The whole stack as plain processes on one machine, under one directory. See `python -m ops.local --help`."""
