"""The safe way from a policy to a real arm: drivers, limits, the guard and the bridge.

Only `robots.bridge` moves an arm, and nothing reaches a driver that `robots.guard` has not checked.
No torch and no simulator here, so that the same code runs on the computer beside the robot.
"""
