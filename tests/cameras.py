"""Cameras on this machine's own network: an RTSP server and HTTP servers that send what they are given, and count."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np

TS_PACKET = 188
Answer = Callable[[socket.socket, list[str]], None]


def transport_stream(path: Path, frames: np.ndarray, fps: int = 25) -> bytes:
    """Frames, uint8 (T, H, W, 3), as an MPEG transport stream, with a key frame every half second."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": str(fps // 2), "tune": "zerolatency"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


class Camera:
    """Answers each connection with the next of some answers; `asked` holds the first lines of what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # the watcher may leave
                self._answers.pop(0)(connection, self.asked)
        self._server.close()

    def close(self) -> None:
        self._answers.clear()
        self._server.close()


@contextmanager
def camera(*answers: Answer) -> Iterator[Camera]:
    server = Camera(*answers)
    try:
        yield server
    finally:
        server.close()


def _request(connection: socket.socket) -> str:
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionResetError
        text += piece
    return text.decode()


def over_http(body: bytes, kind: str = "video/mp2t", seconds: float = 0.0, whole: bool = False) -> Answer:
    """An answer spread over so many seconds: without a length, as a live stream's is, or, `whole`, with it."""
    length = f"Content-Length: {len(body)}\r\n" if whole else ""

    def answer(connection: socket.socket, asked: list[str]) -> None:
        asked.append(_request(connection).splitlines()[0])
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{length}Connection: close\r\n\r\n".encode())
        _spread(body, seconds, connection.sendall, 16 * TS_PACKET)

    return answer


def then_silent(seconds: float, answer: Answer) -> Answer:
    """The same answer, but the connection stays open for so long."""

    def answer_and_wait(connection: socket.socket, asked: list[str]) -> None:
        answer(connection, asked)
        time.sleep(seconds)

    return answer_and_wait


def over_rtsp(stream: bytes, seconds: float = 0.0) -> Answer:
    """A transport stream in RTP packets, interleaved with the commands of RTSP (RFC 2326, 2250)."""

    def answer(connection: socket.socket, asked: list[str]) -> None:
        while True:
            lines = _request(connection).splitlines()
            asked.append(lines[0])
            method, url, _ = lines[0].split()
            sequence = next(line.split(":")[1].strip() for line in lines if line.lower().startswith("cseq"))
            head, body = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 1\r\n", ""
            if method == "OPTIONS":
                head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:1\r\n"
                head += f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            connection.sendall(f"{head}\r\n{body}".encode())
            if method == "PLAY":
                break
        number = 0

        def send(payload: bytes) -> None:
            nonlocal number
            packet = struct.pack("!BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1) + payload
            connection.sendall(b"$\x00" + struct.pack("!H", len(packet)) + packet)
            number += 1

        _spread(stream, seconds, send, 7 * TS_PACKET)

    return answer


def _spread(data: bytes, seconds: float, send: Callable[[bytes], None], size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    for piece in pieces:
        send(piece)
        time.sleep(seconds / len(pieces))
