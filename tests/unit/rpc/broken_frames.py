"""Frames that neither side of HTTP/2 may send, while the stream 1 is open."""

from predmesh_rpc import h2_frames as wire

ON_EITHER_SIDE = {
    "a push": wire.frame(wire.PUSH_PROMISE, wire.END_HEADERS, 1, bytes(4)),
    "a short ping": wire.frame(wire.PING, 0, 0, bytes(7)),
    "a short goodbye": wire.frame(wire.GOAWAY, 0, 0, bytes(7)),
    "a short reset": wire.frame(wire.RST_STREAM, 0, 1, bytes(3)),
    "settings of a stream": wire.frame(wire.SETTINGS, 0, 1, b""),
    "settings cut off": wire.frame(wire.SETTINGS, 0, 0, bytes(5)),
    "a frame size": wire.settings_frame({wire.MAX_FRAME_SIZE: 100}),
    "a window": wire.settings_frame({wire.INITIAL_WINDOW_SIZE: 1 << 31}),
    "no growth": wire.numbered(wire.WINDOW_UPDATE, 0, 0),
    "growth beyond": wire.numbered(wire.WINDOW_UPDATE, 0, wire.LARGEST),
    "growth of a stream beyond": wire.numbered(wire.WINDOW_UPDATE, 1, wire.LARGEST),
}
