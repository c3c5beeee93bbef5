"""Pictures become a video file, one at a time: an MP4, or a GIF where there is no ffmpeg."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import uuid
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from dreamgym.errors import InvalidArgument, MissingExtra, NotWritable

if TYPE_CHECKING:
    from typing_extensions import Self

GIF_RATE = 25  # pictures a second at most: more make a GIF large, and browsers slow down below 1/50 s


class Video:
    """A video file that grows by `add`; use it as a context manager.

    It is written beside its path under another name and takes its place when it is closed: what lies at its path is
    complete. Closing early, as an exception does, leaves a complete video of what was added.

    Args:
        path: where; its suffix becomes .mp4, or .gif if it was that or imageio-ffmpeg is missing.
        fps: pictures a second; a GIF leaves out those above 25.
        preset: of the MP4: "medium" for a small file, "veryfast" if who adds pictures must not wait.

    Raises:
        InvalidArgument: if `fps` is not a positive number.
        MissingExtra: if Pillow, which writes the .gif, is missing too.
        NotWritable: if the folder cannot be written.
    """

    def __init__(self, path: str | Path, fps: float, preset: str = "medium") -> None:
        if not 0 < fps < float("inf"):
            raise InvalidArgument(f"fps is {fps}; expected a positive number of pictures a second.")
        path = Path(path)
        suffix = path.suffix if path.suffix.lower() in (".mp4", ".gif") else ""
        self._program = None if suffix.lower() == ".gif" else _find_ffmpeg()
        if self._program is None:
            _find_pillow("Pillow" if suffix.lower() == ".gif" else "imageio-ffmpeg or Pillow")
        self.path = path.with_name(path.name.removesuffix(suffix) + (".mp4" if self._program else ".gif"))
        self._fps, self._preset = fps, preset
        self._temporary = path.with_name(f".{self.path.name}-{uuid.uuid4().hex[:8]}.tmp")
        self._shape: tuple[int, ...] = ()
        self._file: _Mp4 | _Gif | None = None  # once the size is known
        self._closed = False
        self._written: Path | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()
        except FileExistsError as error:
            raise NotWritable(f"{self.path} cannot be written: {path.parent} is no folder.") from error
        except OSError as error:
            raise self._not_writable(error) from error

    def add(self, frame: np.ndarray) -> None:
        """Append a picture, `[H, W, 3]` uint8, of the same size as the others.

        Raises:
            InvalidArgument: if it is no such picture; the video can go on.
            NotWritable: if it cannot be written, of which nothing is left, or if the video is closed.
        """
        if self._closed:
            raise NotWritable(f"{self.path} is closed; it takes no more pictures.")
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
            raise InvalidArgument(f"a picture is {frame.dtype} {frame.shape}; expected uint8 (height, width, 3).")
        if self._shape and frame.shape != self._shape:
            raise InvalidArgument(f"a picture has shape {frame.shape}; those of {self.path} have {self._shape}.")
        try:
            if self._file is None:
                self._shape = frame.shape
                self._file = self._begin(width=frame.shape[1], height=frame.shape[0])
            self._file.add(np.ascontiguousarray(frame))
        except OSError as error:
            self._discard()
            raise self._not_writable(error) from error

    def close(self) -> Path | None:
        """Return the path of the finished file; None if there is none, since no picture was added or could be written.

        Raises:
            NotWritable: if its end cannot be written, of which nothing is left.
        """
        if not self._closed:
            try:
                if self._file is not None:
                    self._file.close()
                    self._temporary.replace(self.path)
                    self._written = self.path
            except OSError as error:
                raise self._not_writable(error) from error
            finally:
                self._discard()
        return self._written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        with contextlib.suppress(NotWritable) if kind else contextlib.nullcontext():
            self.close()

    def _begin(self, width: int, height: int) -> _Mp4 | _Gif:
        if self._program is None:
            return _Gif(self._temporary, width, height, self._fps)
        return _Mp4(self._program, self._temporary, width, height, self._fps, self._preset)

    def _discard(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.abort()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _not_writable(self, error: OSError) -> NotWritable:
        return NotWritable(f"{self.path} cannot be written: {error.strerror or error}.")


def write_video(frames: Iterable[np.ndarray], path: str | Path, fps: float) -> Path:
    """Write frames as a `Video` and return its path.

    Raises:
        InvalidArgument: if there is no frame.
        MissingExtra, NotWritable: as for `Video`.
    """
    with Video(path, fps) as video:
        for frame in frames:
            video.add(frame)
    written = video.close()
    if written is None:
        raise InvalidArgument(f"there are 0 pictures for {video.path}; expected at least one.")
    return written


class _Mp4:
    """Hands pictures to a process of ffmpeg; an OSError says what it died of."""

    def __init__(self, program: str, path: Path, width: int, height: int, fps: float, preset: str) -> None:
        rate = str(Fraction(fps).limit_denominator(100_000))
        # pictures of large equal pixels must not lose their edges: little compression, and sizes made even, not scaled
        command = [
            program, "-v", "error", "-y",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-",
            "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "16",
            "-preset", preset, "-movflags", "+faststart", "-f", "mp4", str(path),
        ]  # fmt: skip
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at a terminal is for us alone: ffmpeg has to finish the file
            )
        except OSError as error:
            raise OSError(f"{program} does not start ({error.strerror})") from error
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._pictures, self._errors = self._process.stdin, self._process.stderr
        self._complaints: list[bytes] = []
        self._listener = Thread(target=self._complaints.extend, args=(self._errors,), daemon=True)
        self._listener.start()

    def add(self, frame: np.ndarray) -> None:
        try:
            self._pictures.write(frame.data)
        except OSError as error:
            raise OSError(self._why()) from error

    def close(self) -> None:
        try:
            self._pictures.close()
        except OSError as error:
            raise OSError(self._why()) from error
        if self._process.wait():
            raise OSError(self._why())

    def abort(self) -> None:
        """End ffmpeg if it has not ended yet."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._pictures, self._errors):
            with contextlib.suppress(OSError):
                pipe.close()

    def _why(self) -> str:
        status = self._process.wait()
        self._listener.join()
        first = (
            self._complaints[0].decode(errors="replace").strip() if self._complaints else ""
        )  # others follow from it
        return f"ffmpeg ended with status {status}" + (f" ({first.rpartition('] ')[2]})" if first else "")


class _Gif:
    """Writes a GIF a picture at a time, so that a long one takes no memory: what changed since the last one."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self._fps = Fraction(fps)
        self._rate = min(self._fps, Fraction(GIF_RATE))
        self._added, self._place = 0, -1
        self._next: tuple[np.ndarray, int] | None = None  # a picture and when it begins, in hundredths of a second
        self._shown: np.ndarray | None = None
        self._file = path.open("wb")
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0))
        self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # loop for ever

    def add(self, frame: np.ndarray) -> None:
        place = int(self._added * self._rate / self._fps)
        self._added += 1
        if place == self._place:
            return
        self._place = place
        now = round(100 * place / self._rate)
        if self._next is None or not np.array_equal(frame, self._next[0]):  # equal pictures are one, shown for longer
            last, self._next = self._next, (frame.copy(), now)  # at first, so that Ctrl-C meets a file in order
            if last is not None:
                self._write(*last, now)

    def close(self) -> None:
        if self._next is not None:
            self._write(*self._next, round(100 * self._added / self._fps))
        self._file.write(b";")
        self._file.close()

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, frame: np.ndarray, begin: int, end: int) -> None:
        from PIL import Image
        from PIL.GifImagePlugin import getdata

        shown, self._shown = self._shown, frame
        changed = np.ones(frame.shape[:2], bool) if shown is None else (frame != shown).any(2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        top, left = int(rows[0]), int(columns[0])
        picture = Image.fromarray(frame[top : rows[-1] + 1, left : columns[-1] + 1]).quantize(128)
        lasts = min(max(end - begin, 1), 65535)
        parts = getdata(picture, (left, top), duration=10 * lasts, include_color_table=True)
        self._file.write(b"".join(parts))
        parts.clear()  # Pillow keeps them in a class, which lives until the next garbage collection


def _find_ffmpeg() -> str | None:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # the latter if the package came without its program
        return None


def _find_pillow(needed: str) -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a video", needed, "video") from error
