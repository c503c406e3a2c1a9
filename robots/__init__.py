"""Arm drivers, the safety guard and the bridge that moves an arm. No torch and no simulator."""
