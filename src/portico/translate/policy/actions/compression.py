"""`compress-response`: Envoy's compressors, which the runtime lets or does not let at each response.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/compressor_filter
"""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.compress_response import SHORTEST, TYPES, CompressResponse
from portico.translate.policy.actions.compiled import Compiled, NativeCompiler
from portico.translate.typed import Body, extension

_LIBRARIES: Final = {
    "gzip": ("gzip", "envoy.extensions.compression.gzip.compressor.v3.Gzip"),
    "br": ("brotli", "envoy.extensions.compression.brotli.compressor.v3.Brotli"),
}
"""`deflate` and `compress` have no library in Envoy; no browser asks for them without gzip."""


def _compress_response(config: CompressResponse, place: str) -> Compiled:
    known: list[str] = [name for name in config.algorithms if name in _LIBRARIES]
    return Compiled({"algorithms": known}, filters=tuple(_filter(name, place) for name in known))


def _filter(algorithm: str, place: str) -> Body:
    library, message = _LIBRARIES[algorithm]
    return extension(
        f"{algorithm} {place}",
        "envoy.extensions.filters.http.compressor.v3.Compressor",
        compressor_library=extension(library, message),
        choose_first=True,
        response_direction_config={
            "common_config": {"min_content_length": SHORTEST, "content_type": list(TYPES)},
            "weaken_etag_on_compress": True,
        },
    )


COMPILERS: Final[Mapping[str, NativeCompiler]] = {CompressResponse.TYPE: _compress_response}
