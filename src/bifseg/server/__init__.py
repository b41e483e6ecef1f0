"""Serve a department: one store, many readers, the clients people already use. The event loop never knows torch."""
