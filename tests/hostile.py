"""Files that mean harm, small on the disk; none of them may be read, or cost much to refuse."""

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

_PLAYLIST = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>{}</Period></MPD>'
_STREAM = (
    '<AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet>'
)


def attacks(folder: Path) -> Iterator[Path]:
    """Write them into an empty folder: playlists of a readable video, no-files, links to nothing, and bombs."""
    secret = _repeated(folder / "secret.mp4", 64, 30)
    for extension in ("mp4", "ffconcat"):
        yield _text(folder / f"concat.{extension}", "ffconcat version 1.0\nfile secret.mp4\n")
    for extension in ("mp4", "m3u8"):
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
        yield _text(folder / f"hls.{extension}", text)
        yield _text(folder / f"dash.{extension}", _PLAYLIST.format(_STREAM.format(secret)))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo.mp4")
        yield folder / "fifo.mp4"
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    yield from (folder / f"{name}.mp4" for name in ("device", "dangling", "loop"))
    yield _repeated(folder / "bomb_8192x8192.mp4", 8192, 300)
    yield _repeated(folder / "bomb_8192x8192.mkv", 8192, 300)
    liar = bytearray((folder / "bomb_8192x8192.mp4").read_bytes())
    size = liar.rindex(b"avc1") + 28
    liar[size : size + 4] = struct.pack(">HH", 64, 64)  # the decoder will find out, the header does not say
    (folder / "bomb_called_64x64.mp4").write_bytes(liar)
    yield folder / "bomb_called_64x64.mp4"
    yield _repeated(folder / "long_200000_frames.mp4", 16, 200_000)
    yield _repeated(folder / "long_200000_frames.mkv", 16, 200_000)


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _repeated(path: Path, size: int, frames: int) -> Path:
    """A black square video: one encoded picture, then the same encoded absence of change again and again."""
    options = {"preset": "ultrafast", "g": "250", "x264-params": "ref=1:bframes=0:rc-lookahead=0:sync-lookahead=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        black = av.VideoFrame(size, size, "yuv420p")
        for plane, level in zip(black.planes, (16, 128, 128), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        packets = []
        for number in range(2):
            black.pts, black.time_base = number, Fraction(1, 30)
            packets += stream.encode(black)
        packets += stream.encode(None)
        first, still = (bytes(packet) for packet in packets)
        for number in range(frames):
            packet = av.Packet(still if number else first)
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = number
            packet.is_keyframe = not number
            container.mux(packet)
    return path
