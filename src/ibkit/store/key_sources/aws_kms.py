"""Keys that AWS KMS wraps: the file holds what only KMS opens, each line base64 of one wrapped key, newest first.

    aws kms generate-data-key-without-plaintext --key-id K --key-spec AES_256 \\
        --encryption-context purpose=ibkit-vault --query CiphertextBlob --output text

makes such a line, as does `ibkit vault generate-keys --write`. KMS is asked once for each key when a process
starts.
Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html and API_GenerateDataKey.html; from memory,
checked against moto alone.
"""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path
from typing import Any

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.store.key_sources import Keys
from ibkit.store.key_sources.key_file import lines_of, put_line

__all__ = ["CONTEXT", "KmsKeys"]

CONTEXT = {"purpose": "ibkit-vault"}
"""Bound to each wrapped key and shown in AWS's own log of its use."""
_CONNECT_S, _READ_S, _ATTEMPTS = 5, 10, 2


class KmsKeys:
    """key_id: of the KMS key, or its ARN or alias. region, endpoint: None for what AWS's own settings say."""

    def __init__(self, file: Path, *, key_id: str, region: str | None = None, endpoint: str | None = None) -> None:
        self._file = file
        self._key_id = key_id
        self._region = region
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        return f"AWS KMS, wrapped in {self._file}"

    @discreet
    def read(self) -> Keys:
        return tuple(self._unwrapped(line, number) for number, line in enumerate(lines_of(self._file), 1))

    @discreet
    def put(self, key: Secret[str] | None) -> None:
        if key is None:
            answer = self._call("generate_data_key", KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)
        else:
            plain = bytes.fromhex(key.reveal())
            answer = self._call("encrypt", KeyId=self._key_id, Plaintext=plain, EncryptionContext=CONTEXT)
        put_line(self._file, base64.b64encode(answer["CiphertextBlob"]).decode())

    def _unwrapped(self, line: str, number: int) -> Secret[str]:
        try:
            blob = base64.b64decode(line, validate=True)
        except (ValueError, binascii.Error):
            raise ConfigError(
                f"Encryption failed: line {number} of the key file {self._file} is not base64",
                code="E-ENC-KEY",
                remedy="Each line holds a key that KMS has wrapped, the CiphertextBlob of its answer.",
            ) from None
        answer = self._call("decrypt", KeyId=self._key_id, CiphertextBlob=blob, EncryptionContext=CONTEXT)
        return Secret(answer["Plaintext"].hex())

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            import boto3  # type: ignore[import-untyped]  # it has no types
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
        except ImportError:
            raise ConfigError(
                "Encryption failed: AWS KMS needs the package boto3",
                code="E-ENC-KEY",
                remedy="Install it with `pip install 'ibkit[aws]'`.",
            ) from None
        # At DEBUG it logs the bodies of answers, and the body of this answer is the key.
        logging.getLogger("botocore").setLevel(max(logging.INFO, logging.getLogger("botocore").level))
        config = Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": _ATTEMPTS})
        try:
            client = boto3.client("kms", region_name=self._region, endpoint_url=self._endpoint, config=config)
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
        except ClientError as error:
            raise self._failed(f"answers {error.response.get('Error', {}).get('Code', 'with an error')}") from None
        except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no address
            raise self._failed(f"cannot be asked ({type(error).__name__})") from None
        return answer

    def _failed(self, reason: str) -> ConfigError:
        return ConfigError(
            f"Encryption failed: AWS KMS {reason}",
            code="E-ENC-KEY",
            remedy=(
                "Check ENCRYPTION_KMS_KEY_ID, ENCRYPTION_KMS_REGION and ENCRYPTION_KMS_ENDPOINT, AWS's own settings "
                "for this user, and that they allow kms:Decrypt (and kms:GenerateDataKey for a new key)."
            ),
        )
