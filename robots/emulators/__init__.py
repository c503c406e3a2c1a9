"""Devices in software that speak a real arm's protocol, for tests and for use without one."""
