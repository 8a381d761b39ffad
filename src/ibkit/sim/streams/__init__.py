"""What each topic of the WebSocket tells, given the world and the time. No socket."""
