"""The policies that are printed: valid JSON, names filled in, and only a pruner deletes data."""

from __future__ import annotations

import json

import pytest

from backup.policies import ROLES, Role, policy
from backup.repository.stores.s3options import ProfileName, S3Address

ARN = "arn:aws:iam::123456789012:user/strongroom"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("profile", ["aws", "ceph"])
def test_a_policy_is_for_this_user_and_bucket_alone(role: Role, profile: ProfileName) -> None:
    """No star for a user, an action or a bucket, and no placeholder is left."""
    text = policy(role, S3Address(bucket="firm", prefix="a/b"), principal=ARN, profile=profile)
    assert "${" not in text
    for statement in json.loads(text)["Statement"]:
        assert statement["Principal"] == {"AWS": [ARN]}
        assert all(action.startswith("s3:") and "*" not in action for action in statement["Action"])
        for resource in statement["Resource"]:
            assert resource.startswith("arn:aws:s3:::firm")
            if statement["Effect"] == "Allow" and "/" in resource:
                assert resource.startswith("arn:aws:s3:::firm/a/b/")


@pytest.mark.parametrize("role", ["writer", "reader", "keeper"])
def test_only_a_pruner_deletes_data(role: Role) -> None:
    """A writer gives back its leases, a keeper takes pins off, and that is all."""
    text = policy(role, S3Address(bucket="firm", prefix=""), principal=ARN, profile="aws")
    for statement in json.loads(text)["Statement"]:
        if statement["Effect"] == "Allow" and any("Delete" in one for one in statement["Action"]):
            pins = ["arn:aws:s3:::firm/pins/*"] if role == "keeper" else []
            assert role != "reader"
            assert statement["Resource"] == ["arn:aws:s3:::firm/leases/*", *pins]


@pytest.mark.parametrize("role", ROLES)
def test_only_a_keeper_lifts_holds_and_nobody_a_lock(role: Role) -> None:
    """Who prunes can't lift what keeps it from pruning, and who keeps can't prune."""
    text = policy(role, S3Address(bucket="firm", prefix=""), principal=ARN, profile="aws")
    allowed = {
        action
        for statement in json.loads(text)["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
    }
    assert ("s3:PutObjectLegalHold" in allowed) == (role == "keeper")
    assert "s3:BypassGovernanceRetention" not in allowed


def test_conditions_that_only_amazon_knows_are_left_out_elsewhere() -> None:
    """They would deny every put."""
    address = S3Address(bucket="firm", prefix="")
    assert "if-none-match" in policy("writer", address, principal=ARN, profile="aws")
    assert "if-none-match" not in policy("writer", address, principal=ARN, profile="ceph")
