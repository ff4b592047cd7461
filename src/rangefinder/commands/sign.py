"""`rangefinder sign` and `rangefinder verify-signature`: who made a model that travels.

Signatures are those of OpenSSF Model Signing (a Sigstore bundle over the SHA-256 of every file), so
other programs verify them too.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

SUFFIX = ".sig"
_EXISTING = click.Path(exists=True, path_type=Path)
_KEY = click.Path(exists=True, dir_okay=False, path_type=Path)

_model_argument = click.argument("model", type=_EXISTING, metavar="FOLDER|FILE")
_signature_option = click.option(
    "--signature",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Its signature.  [default: beside it, with {SUFFIX} at the end of its name]",
)


@click.command()
@_model_argument
@click.option("--key", type=_KEY, required=True, help="Private key (PEM, elliptic curve).")
@_signature_option
def sign(model: Path, key: Path, signature: Path | None) -> None:
    """Sign a model's folder or exported file with your private key.

    Whoever has your public key can verify that it is yours, and as it was: see verify-signature.
    OpenSSL makes keys: see SECURITY.md. Needs rangefinder[sign].
    """
    _require_package()
    from model_signing.signing import Config

    from rangefinder.common.files import atomic_write
    from rangefinder.common.foreign import guarded
    from rangefinder.errors import ConfigError

    out = signature or _beside(model)
    if out.resolve().is_relative_to(model.resolve()):
        raise click.BadParameter(f"{out} is part of what is signed", param_hint="--signature")
    with guarded(ConfigError, f"{key} is no private key that signs"):
        signer = Config().use_elliptic_key_signer(private_key=key)
    with guarded(ConfigError, f"{model} cannot be signed"):
        atomic_write(out, lambda partial: signer.sign(model, partial))
    click.echo(f"{out} signs {model}.")


@click.command("verify-signature")
@_model_argument
@click.option(
    "--key", type=_KEY, required=True, help="Public key of who should have made it (PEM)."
)
@_signature_option
def verify_signature(model: Path, key: Path, signature: Path | None) -> None:
    """Verify that a model is what the owner of a key has signed.

    Every file of it is compared, and another one beside them is found. Ends with status 2 if the
    model or its signature is another. Needs rangefinder[sign].
    """
    _require_package()
    from model_signing.verifying import Config

    from rangefinder.common.foreign import guarded
    from rangefinder.errors import ConfigError, ModelError

    path = signature or _beside(model)
    if not path.is_file():
        raise ModelError(f"there is no signature {path}", todo="Name it by --signature.")
    with guarded(ConfigError, f"{key} is no public key"):
        verifier = Config().use_elliptic_key_verifier(public_key=key)
    with guarded(
        ModelError,
        f"{model} is not what the owner of {key} has signed",
        todo="Do not use it: ask who sent it.",
    ):
        verifier.verify(model, path)
    click.echo(f"{model} is what the owner of {key} has signed.")


def _beside(model: Path) -> Path:
    path = model.resolve()
    return path.with_name(path.name + SUFFIX)


def _require_package() -> None:
    if find_spec("model_signing") is None:
        from rangefinder.captures.formats import install
        from rangefinder.errors import ConfigError

        raise ConfigError(
            "signing needs model-signing, which is not installed", todo=f"{install('sign')}."
        )
