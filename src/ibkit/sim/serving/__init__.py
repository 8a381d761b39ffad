"""From the world to the wire: gates, routes, control, pages, TLS faces, and the same in process for tests."""
