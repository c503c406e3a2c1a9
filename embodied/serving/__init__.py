"""Serve a policy over websockets and act on its answers from a robot's computer.

`wire` is the encoding, `protocol` the names both sides agree on, `server` and `client` the two
ends, `chunks` turns answers that arrive late into actions on time. Wire-compatible with openpi's
server and client. Only a policy itself may need torch: nothing here imports it.
"""
