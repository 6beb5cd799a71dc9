"""The container of an audio file: how much audio its headers promise, and how much the file has.

libsndfile corrects wrong lengths silently, stops at the end of the first of two joined files, and estimates the length
of MP3 files without a Xing header. Formats: WAV, RF64 (EBU Tech 3306), AIFF, AU, CAF, Wave64, FLAC (RFC 9639), Ogg
(RFC 3533), and MPEG layer III (ISO/IEC 11172-3 and 13818-3) with Xing, Info and VBRI headers.
"""

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

# Of chunked formats, by their first bytes: position and layout of the first chunk header, and the chunk of the audio.
CHUNKED = {
    b"RIFF": (12, "<4sI", b"data"),
    b"RF64": (12, "<4sI", b"data"),
    b"FORM": (12, ">4sI", b"SSND"),
    b"caff": (8, ">4sq", b"data"),
    b"riff": (40, "<16sQ", b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"),  # Wave64
}
# The beginnings of files; a FLAC file may store the header of the WAV file that it was made from.
FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
START = re.compile(rb"(?:RIFF|RF64).{4}WAVE|FORM.{4}AIF[FC]|\.snd\x00\x00|caff\x00\x01|riff\x2e\x91\xcf\x11", re.DOTALL)
SEARCHED = 1 << 20  # bytes after the audio, or per step
# Programs that write into a pipe put the largest length there, of signed or unsigned 32 bits, minus some headers.
UNKNOWN_LENGTHS = (range(0x7FFF0000, 0x80000100), range(0xFFFF0000, 0x100000000))
KBITS = {  # of MPEG layer III, by version 1, or 2 and 2.5
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class Container:
    """The findings about a container.

    Attributes:
      missing: what its headers promise and the file lacks, such as "44 bytes".
      more: what the file has and libsndfile does not read.
      unread: bytes after the audio that belong to no chunk.
      head, skip: bytes that replace the first `skip` bytes of the file, so that libsndfile reads all of it.
    """

    missing: str = ""
    more: str = ""
    unread: int = 0
    head: bytes = field(default=b"", repr=False)
    skip: int = 0

    @classmethod
    def of(cls, path: Path) -> "Container":
        """Read the headers of a file; of an unknown format there are no findings."""
        with open(path, "rb") as file:
            size, magic = os.fstat(file.fileno()).st_size, file.read(4)
            if magic in CHUNKED:
                return _chunked(file, size, magic)
            if magic == b".snd":
                return _au(file, size)
            if magic == b"fLaC":
                return cls(more=_another(file, 4, size, FLAC))
            if magic == b"OggS":
                return _ogg(file, size)
            return _mpeg(file, size)

    def source(self, path: Path, stack: ExitStack) -> Any:
        """Return what soundfile opens: the name of the file as bytes, of any encoding, or the file with its new head.

        Args:
          stack: closes it.
        """
        return stack.enter_context(_Replaced(path, self.head, self.skip)) if self.head else os.fsencode(path)


class _Replaced(io.RawIOBase):
    """A file whose first `skip` bytes are replaced by `head`."""

    def __init__(self, path: Path, head: bytes, skip: int):
        self._file, self._head, self._skip, self._at = path.open("rb"), head, skip, 0
        self._size = len(head) - skip + os.fstat(self._file.fileno()).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        content = self._head[self._at : self._at + len(buffer)]
        if len(content) < len(buffer):
            self._file.seek(max(0, self._at - len(self._head)) + self._skip)
            content += self._file.read(len(buffer) - len(content))
        self._at += len(content)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def _at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _another(file: BinaryIO, start: int, size: int, pattern: re.Pattern[bytes] = START) -> str:
    """Return where another file starts after byte `start`; empty if none does."""
    for begin in range(start, size, SEARCHED):
        if found := pattern.search(_at(file, begin, SEARCHED + 16)):
            return f"another file starts at byte {begin + found.start()}"
    return ""


def _chunked(file: BinaryIO, size: int, magic: bytes) -> Container:
    at, layout, wanted = CHUNKED[magic]
    width, long = struct.calcsize(layout), 0
    # A damaged length may lead beyond what `seek` accepts.
    while at < size and len(header := _at(file, at, width)) == width:
        name, length = struct.unpack(layout, header)
        begin = at + width
        if name == wanted:
            break
        if length < 0:  # would lead backwards, in a damaged CAF file
            return Container()
        if name == b"ds64":
            long = int.from_bytes(_at(file, begin + 8, 8), "little")
        at = begin + length + length % 2 if magic != b"riff" else at + -(-max(length, width) // 8) * 8
    else:
        return Container()
    if magic == b"riff":
        length -= width
    if magic == b"RF64" and length == 0xFFFFFFFF:
        length = long or length
    rest = _at(file, begin, 8)
    if magic == b"RIFF" and not length and rest and not _is_chunk(rest, size - begin):
        left = struct.pack("<I", min(size - begin, 0xFFFFFFFF))
        return Container(head=_at(file, 0, begin - 4) + left, skip=begin)
    if length < 0 or any(length in lengths for lengths in UNKNOWN_LENGTHS):
        return Container()
    end = begin + length
    if end > size:
        return Container(missing=f"{end - size} bytes")
    if another := _another(file, end, min(size, end + SEARCHED)):
        return Container(more=another)
    unread = 0
    while layout.endswith("4sI") and end < size:
        rest = _at(file, end, 4096)
        end += len(rest) - len(rest.lstrip(b"\0"))  # padding
        rest = rest.lstrip(b"\0")
        if rest and not _is_chunk(rest, size - end, layout):
            unread = size - end
            break
        end += 8 + struct.unpack(layout, rest[:8])[1] if rest else 0
    return Container(unread=unread)


def _is_chunk(header: bytes, size: int, layout: str = "<4sI") -> bool:
    """Return True if bytes are the header of a chunk that ends in the remaining `size` bytes."""
    return bool(re.match(rb"[ -~]{4}.{4}", header, re.DOTALL)) and struct.unpack(layout, header[:8])[1] <= size - 8


def _au(file: BinaryIO, size: int) -> Container:
    begin, length = struct.unpack(">II", _at(file, 4, 8).ljust(8, b"\0"))
    if any(length in lengths for lengths in UNKNOWN_LENGTHS):
        return Container()
    missing = begin + length - size
    return Container(f"{missing} bytes") if missing > 0 else Container(more=_another(file, begin + length, size))


def _ogg(file: BinaryIO, size: int) -> Container:
    """Follow the pages: each has a number, and the first and last of a stream are marked."""
    at, opened, ended, numbers, data = 0, set(), set(), {}, False
    while len(header := _at(file, at, 27)) == 27 and header.startswith(b"OggS"):
        flags, serial, number = header[5], header[14:18], int.from_bytes(header[18:22], "little")
        if first := flags & 2:
            if data:
                return Container(more=f"another file starts at byte {at}")
            opened.add(serial)
        if not first and number > numbers.get(serial, number) + 1:
            return Container(missing=f"{number - numbers[serial] - 1} Ogg pages before byte {at}")
        data, numbers[serial] = not first, number
        if flags & 4:
            ended.add(serial)
        at += 27 + header[26] + sum(file.read(header[26]))
    if at > size:
        return Container(missing=f"{at - size} bytes")
    return Container(missing="one or more Ogg pages") if opened - ended else Container()


def _mpeg_length(header: bytes) -> int:
    """Return the bytes of an MPEG layer III frame from its first four; 0 if they are something else."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2 or header[1] >> 3 & 3 == 1:
        return 0
    slower = {3: 1, 2: 2, 0: 4}[header[1] >> 3 & 3]  # MPEG 1, 2 and 2.5: the sample rates are divided by it
    kbits, rate_hz = (*KBITS[min(slower, 2)], 0)[header[2] >> 4], (44_100, 48_000, 32_000, 0)[header[2] >> 2 & 3]
    return kbits * (144_000 if slower == 1 else 72_000) * slower // rate_hz + (header[2] >> 1 & 1) if rate_hz else 0


def _xing_at(header: bytes) -> int:
    """Return the position of a Xing header in an MPEG frame: after the side information."""
    return 4 + ((17, 32) if header[1] >> 3 & 1 else (9, 17))[header[3] >> 6 != 3]


def _mpeg_frames(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield position, length and beginning of all frames, up to the first bytes that are neither a frame nor a tag."""
    at = 0
    while at < size:
        content = _at(file, at, 64)
        if content.startswith(b"ID3") and len(content) > 10:
            at += 10 + sum((byte & 127) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
        elif content.startswith((b"TAG", b"APETAGEX")) and len(content) >= 32:
            at += 128 if content.startswith(b"TAG") else 32 + int.from_bytes(content[12:16], "little")
        elif length := _mpeg_length(content):
            yield at, length, content.ljust(64, b"\0")  # the frame may be cut short
            at += length
        else:
            return


def _mpeg(file: BinaryIO, size: int) -> Container:
    """Count the frames, and compare with the number in the first one."""
    first, header, promised, count, end = 0, b"", None, 0, 0
    for at, length, content in _mpeg_frames(file, size):
        xing, end = _xing_at(content), at + length
        number = None
        if content[xing : xing + 4] in (b"Xing", b"Info"):
            number = int.from_bytes(content[xing + 8 : xing + 12], "big") if content[xing + 7] & 1 else 0
        elif content[36:40] == b"VBRI":
            number = int.from_bytes(content[50:54], "big")
        # Some encoders count the header too, or a frame less.
        if header and (number is not None or (promised and count > promised + 2)):
            return Container(more=f"another file starts at byte {at}")
        if not header:
            first, header, promised = at, content[:4], number
        count += number is None and end <= size
    if promised and (count < promised - 1 or (count < promised and end > size)):
        return Container(missing=f"{promised - count} of {promised} MPEG frames")
    if count and end > size:
        return Container(missing=f"{end - size} bytes")
    if count and not promised and len(_at(file, end, size).strip(b"\0")) > 4096:
        return Container(missing=f"everything after byte {end}")
    if not count or promised is not None:
        return Container()
    # libsndfile reads no more than it estimates from the first frame. So put a Xing header before it, with the number
    # of frames, at a bit rate that has room for it, and without a checksum.
    header = bytes((header[0], header[1] | 1, header[2] & 0x0D | 0x80, header[3]))
    xing = header + bytes(_xing_at(header) - 4) + b"Xing" + struct.pack(">II", 1, count)
    return Container(head=xing.ljust(_mpeg_length(header), b"\0"), skip=first)
