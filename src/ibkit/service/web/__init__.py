"""The pages. They are clients of our own interface: a page shows and does what `/api` allows this visitor, no more."""
