"""Who uses a service of ours, and what they may do. No I/O of its own."""
