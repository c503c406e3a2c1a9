"""Policies of arms that predict chunks of actions."""
