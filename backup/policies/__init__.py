"""Least-privilege bucket policies, a file a role; and the same with names filled in."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Literal, TypeAlias, get_args

from backup.repository.stores.s3options import ProfileName, S3Address

Role: TypeAlias = Literal["writer", "reader", "pruner", "keeper"]
ROLES: tuple[Role, ...] = get_args(Role)

# Statements with conditions that only Amazon's own store knows; elsewhere they would deny all.
_AMAZON_ONLY = "Amazon"


def policy(role: Role, address: S3Address, *, principal: str, profile: ProfileName) -> str:
    """Return the bucket policy of a role as JSON.

    `principal` is the user's ARN, such as `arn:aws:iam::123456789012:user/strongroom`; on Ceph
    `arn:aws:iam:::user/strongroom`.
    """
    text = (files(__name__) / f"{role}.json").read_text(encoding="utf-8")
    for name, value in (
        ("PRINCIPAL", principal),
        ("BUCKET", address.bucket),
        ("PREFIX", f"{address.prefix}/" if address.prefix else ""),
    ):
        text = text.replace(f"${{{name}}}", json.dumps(value)[1:-1])
    document = json.loads(text)
    document["Statement"] = [
        statement
        for statement in document["Statement"]
        if profile == "aws" or not statement["Sid"].startswith(_AMAZON_ONLY)
    ]
    return json.dumps(document, indent=2)
