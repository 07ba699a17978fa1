"""What went wrong with a bucket, in our words: every error of botocore is translated here, once."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)

from backup.errors import StoreError

# Foreign errors that mean that a call failed; anything else is a mistake of ours.
FOREIGN = (BotoCoreError, ClientError, OSError)
# An answer that began and did not end; botocore does not ask again.
BROKEN_OFF = (IncompleteReadError, ResponseStreamingError, ReadTimeoutError)

_POLICY = "compare the user's rights with `strongroom store policy`"
_CREDENTIALS = (
    "check the credential files s3-access-key-id and s3-secret-access-key, or AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY"
)
_REGION = "set `region` of [s3] to the bucket's"
_LATER = "the store is busy or broken: run the same command again later"
_HINTS = {
    "NoSuchBucket": "make the bucket first (with Object Lock, if `lock` is set); check `endpoint`",
    "AccessDenied": _POLICY,
    "403": _POLICY,
    "AllAccessDisabled": _POLICY,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "RequestTimeTooSkewed": "the clock here or the store's is wrong: set up time synchronisation",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "SlowDown": _LATER,
    "ServiceUnavailable": _LATER,
    "InternalError": _LATER,
    "NotImplemented": "the store can't do that: set `profile` of [s3] to what it is, run `doctor`",
    "InvalidRequest": "set `profile` of [s3] to what the store is, then run `strongroom doctor`",
    "MissingContentLength": "set `profile` of [s3] to what the store is",
    "BadDigest": "the bytes changed on their way: run it again, and test memory and network",
    "InvalidDigest": "the bytes changed on their way: run it again",
    "QuotaExceeded": "raise the quota of the bucket or its user, then run the same command again",
    "InsufficientCapacity": "free space in the store, then run the same command again",
    "ObjectLockConfigurationNotFoundError": "make a bucket with Object Lock, or unset `lock`",
}


def code_of(error: BaseException) -> str:
    """Return the code that the store answered with, such as `NoSuchKey`; else an empty string."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def status_of(error: BaseException) -> int:
    """Return the HTTP status of the store's answer; 0 if there was none."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0


def translated(doing: str, error: BaseException) -> StoreError:
    """Return what to raise instead of a foreign error, with what helps."""
    if isinstance(error, ClientError):
        code, status = code_of(error), status_of(error)
        said = str(error.response.get("Error", {}).get("Message", "")) or "no reason given"
        return StoreError(
            f"{doing}: the store answered {status} {code}: {said.strip().rstrip('.')}",
            hint=_HINTS.get(code, _LATER if status >= 500 or status in {408, 429} else None),
        )
    return StoreError(f"{doing}: {_reason(error)}", hint=_hint(error))


def _reason(error: BaseException) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:]


def _hint(error: BaseException) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return _CREDENTIALS
    if isinstance(error, SSLError):
        return "set `ca_file` of [s3] to the certificate authority that signed the store's"
    if isinstance(error, EndpointConnectionError):
        return "check `endpoint` and `region` of [s3], and that the store can be reached from here"
    return "check the network to the store, then run the same command again"
