"""Signatures: only the owner of the key has made them, and only over this model."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rangefinder.commands import BAD_INPUT, main

NOT_INSTALLED = importlib.util.find_spec("model_signing") is None


def needs_package(test):
    """Run by `make test-slow`, which installs the package."""
    return pytest.mark.slow(
        pytest.mark.skipif(NOT_INSTALLED, reason="rangefinder[sign] is needed")(test)
    )


@pytest.fixture
def keys(tmp_path) -> tuple[Path, Path]:
    """A private key and its public one."""
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def student(model_folder, tmp_path) -> Path:
    return shutil.copytree(model_folder / "student", tmp_path / "student")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@needs_package
def test_a_signed_model_is_verified_wherever_it_went(student, keys, tmp_path):
    private, public = keys
    done = run("sign", student, "--key", private)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "student.sig").is_file()
    (tmp_path / "there").mkdir()
    for name in ("student", "student.sig"):
        shutil.move(tmp_path / name, tmp_path / "there" / name)
    done = run("verify-signature", tmp_path / "there/student", "--key", public)
    assert done.exit_code == 0, done.output


@needs_package
def test_a_signature_is_no_part_of_what_it_signs(student, keys):
    done = run("sign", student, "--key", keys[0], "--signature", student / "x.sig")
    assert done.exit_code == BAD_INPUT
    assert "part of what is signed" in done.output


@needs_package
@pytest.mark.parametrize("change", ["bit", "added", "lost", "signature", "key", "no key"])
def test_anything_else_is_refused(student, keys, tmp_path, change):
    private, public = keys
    assert run("sign", student, "--key", private).exit_code == 0
    weights, signature = student / "weights.safetensors", tmp_path / "student.sig"
    if change == "bit":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif change == "added":
        (student / "code.py").write_text("print()")
    elif change == "lost":
        weights.unlink()
    elif change == "signature":
        signature.write_text(signature.read_text().replace("A", "B"))
    elif change == "key":
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(other.public_bytes(pem, form))
    else:
        public.write_text("no key")
    done = run("verify-signature", student, "--key", public)
    assert done.exit_code == BAD_INPUT, done.output
    expected = "is no public key" if change == "no key" else "is not what the owner of"
    assert expected in done.output
    assert done.output.count("\n") <= 4


@needs_package
def test_an_exported_file_is_signed_too_and_a_missing_signature_is_named(tmp_path, keys):
    private, public = keys
    file = tmp_path / "model.onnx"
    file.write_bytes(b"content")
    done = run("verify-signature", file, "--key", public)
    assert done.exit_code == BAD_INPUT
    assert "there is no signature" in done.output
    assert run("sign", file, "--key", private, "--signature", tmp_path / "s").exit_code == 0
    arguments = ("verify-signature", file, "--key", public, "--signature", tmp_path / "s")
    assert run(*arguments).exit_code == 0
    file.write_bytes(b"other")
    assert run(*arguments).exit_code == BAD_INPUT


@pytest.mark.skipif(not NOT_INSTALLED, reason="the package is installed")
def test_without_the_package_one_line_tells_what_to_install(student, keys):
    for command in ("sign", "verify-signature"):
        done = run(command, student, "--key", keys[0])
        assert done.exit_code == BAD_INPUT
        assert "rangefinder[sign]" in done.output
