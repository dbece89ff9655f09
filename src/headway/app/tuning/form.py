"""A multipart form with one file, taken apart as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headway.app.server.errors import ApiError, invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
MAX_NAME_CHARS = 255


class Form:
    """What has come of a form so far.

    Parameters
    ----------
    content_type : str
        The header of the request, which names the boundary between the parts.
    max_file_bytes : int
        The most that the file may have.

    Attributes
    ----------
    fields : dict of str to str
        The plain fields.
    filename : str or None
        What the file is called; None while there is none.
    size : int
        Bytes of the file so far.
    complete : bool
        Whether the end of the form was seen.

    Raises
    ------
    ApiError
        400 when it is no multipart form, or not one of a file.
    """

    def __init__(self, content_type: str, max_file_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            must = "a multipart/form-data form with the fields `file` and `purpose`"
            raise invalid(f"The body must be {must}, got '{content_type[:99]}'.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self.complete = False
        self._max_file_bytes = max_file_bytes
        self._file: list[bytes] = []
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._text: bytearray | None = None  # of the field that is coming; None while it is the file that comes
        self._parser = self._made(options[b"boundary"])

    def push(self, data: bytes) -> bytes:
        """Take the next bytes of the body; return those that belong to the file.

        Raises
        ------
        ApiError
            400 when it is no proper form, 413 when the file is too long.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken(str(error)) from error
        found, self._file = b"".join(self._file), []
        self.size += len(found)
        if self.size > self._max_file_bytes:
            raise too_long(self._max_file_bytes)
        return found

    def end(self) -> None:
        """Say that nothing more comes.

        Raises
        ------
        ApiError
            400 when something is missing.
        """
        if not self.complete:
            raise _broken("it ends in the middle")
        if self.filename is None:
            raise invalid("Missing required parameter: 'file'.", "file", "missing_required_parameter")

    def _made(self, boundary: bytes) -> MultipartParser:
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._on_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            return MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _broken(str(error)) from error

    def _begin(self) -> None:
        self._headers = {}

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._text = None if self._name == "file" else bytearray()
        if self._text is None:
            self._open_file(options)
        elif self._name in self.fields or len(self.fields) == MAX_FIELDS:
            raise invalid(f"The form must have each field once, and at most {MAX_FIELDS}.", self._name)

    def _open_file(self, options: Mapping[bytes, bytes]) -> None:
        if self.filename is not None:
            raise invalid("The form must have one `file`, got two.", "file")
        self.filename = _plain(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self._file.append(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD_BYTES:
            raise invalid(f"A field of the form must have at most {MAX_FIELD_BYTES} bytes.", self._name)

    def _end_part(self) -> None:
        if self._text is not None:
            self.fields[self._name] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self.complete = True


def too_long(limit_bytes: int) -> ApiError:
    """The file is longer than allowed: 413."""
    message = f"A file must have at most {limit_bytes} bytes."
    return ApiError(413, message, param="file", code="file_too_large", headers={"Connection": "close"})


def _broken(why: str) -> ApiError:
    return invalid(f"The body must be a multipart form, but it cannot be read: {why}.")


def _plain(name: str) -> str:
    """A name without folders and what does not print."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in base if char.isprintable())[:MAX_NAME_CHARS] or "file"
