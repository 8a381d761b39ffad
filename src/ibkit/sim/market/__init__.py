"""The market: calendar, instruments, prices as a pure function of seed and time, quotes."""
