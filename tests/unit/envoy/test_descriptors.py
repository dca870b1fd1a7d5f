"""Envoy's API read out of its binary, and the cache of it."""

import random

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from kit.envoy import message_types, require_envoy
from portico.envoy.descriptors import extract, load_message_types
from portico.model.errors import ENVOY_MISSING, PorticoError

_NAME = "envoy/service/discovery/v3/discovery.proto"


def file(name: str, *dependencies: str) -> descriptor_pb2.FileDescriptorProto:
    message = descriptor_pb2.DescriptorProto(name="M")
    package = name.removesuffix(".proto").replace("/", ".")
    return descriptor_pb2.FileDescriptorProto(
        name=name, package=package, dependency=dependencies, message_type=[message], syntax="proto3"
    )


def program(*files: descriptor_pb2.FileDescriptorProto) -> bytes:
    return b"\x7fELF junk \x0a.proto " + b"\x00\x01code".join(each.SerializeToString() for each in files) + b"\x00end"


class TestExtract:
    def test_finds_every_file_of_envoy_with_what_it_needs(self):
        files = extract(require_envoy().read_bytes()).file
        names = {each.name for each in files}
        assert len(names) == len(files) > 400
        assert not {needed for each in files for needed in each.dependency} - names

    def test_finds_files_between_other_bytes(self):
        wanted = [file("a.proto"), file("b/c.proto", "a.proto")]
        assert list(extract(program(*wanted)).file) == wanted

    @given(noise=st.lists(st.binary(max_size=200) | st.just(b"\x0a\x07a.proto") | st.just(b"\x0a\x7fx.proto\x12\xff")))
    def test_survives_any_program(self, noise):
        extract(b"".join(noise))


class TestCache:
    @pytest.fixture
    def binary(self, tmp_path):
        path = tmp_path / "envoy"
        path.write_bytes(program(file(_NAME)))
        return path

    def test_is_used_and_made_anew_when_it_is_corrupt(self, binary, tmp_path, caplog):
        folder = tmp_path / "cache"
        load_message_types(binary, folder)
        (cached,) = folder.iterdir()
        content = cached.read_bytes()
        name = _NAME.removesuffix(".proto").replace("/", ".") + ".M"
        assert load_message_types(binary, folder).message(name)
        for damage in (content[:-5], b"", random.Random(1).randbytes(100)):
            cached.write_bytes(damage)
            assert load_message_types(binary, folder).message(name)
            assert cached.read_bytes() == content
        assert "corrupt" in caplog.text
        assert list(folder.iterdir()) == [cached]

    def test_keeps_few_of_other_binaries(self, binary, tmp_path):
        folder = tmp_path / "cache"
        for number in range(8):
            binary.write_bytes(program(file(_NAME)) + bytes([number]))
            load_message_types(binary, folder)
        assert len(list(folder.iterdir())) <= 5

    def test_may_be_missing_altogether(self, binary, tmp_path, caplog):
        (tmp_path / "cache").write_text("a file where the folder belongs")
        assert load_message_types(binary, tmp_path / "cache")
        assert "not written" in caplog.text

    def test_says_that_a_binary_is_no_envoy(self, tmp_path):
        (tmp_path / "other").write_bytes(b"\x7fELF")
        for name in ("other", "absent"):
            with pytest.raises(PorticoError) as caught:
                load_message_types(tmp_path / name, tmp_path)
            assert caught.value.code is ENVOY_MISSING


def test_unknown_message_is_a_key_error():
    with pytest.raises(KeyError):
        message_types().message("no.Such")
