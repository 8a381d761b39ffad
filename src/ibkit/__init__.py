"""ibkit: Interactive Brokers' Web API in Python. Public names are loaded on first use."""
