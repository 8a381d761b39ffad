"""What is held, for its owner: portfolios, their syncs, and what becomes of them. No I/O."""
