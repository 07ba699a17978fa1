"""What a bucket's facts mean for backups: each quirk named, with what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from backup.journeys.check import Check
from backup.repository.stores.s3options import S3Options
from backup.repository.stores.s3probe import Facts

# Amazon refuses requests that are fifteen minutes off; locks are counted by the store's clock.
_SKEW = timedelta(minutes=1)
_SLOW_BYTES_PER_SECOND = 1_000_000


def judge(facts: Facts, options: S3Options) -> Iterator[Check]:
    """Yield a check for each thing that was asked of the bucket."""
    yield _conditional(facts, options)
    yield _digests(facts, options)
    yield _listing(facts)
    yield _deletion(facts, options)
    yield from _lock(facts, options)
    is_close = abs(facts.skew) <= _SKEW
    yield Check(
        name="clock of the store",
        status="good" if is_close else "warning",
        observed=f"differs by {facts.skew.total_seconds():.0f} s from this host's",
        hint=None if is_close else "set up time synchronisation: far off, the store refuses all",
    )
    speed = min(facts.put_bytes_per_second, facts.get_bytes_per_second)
    yield Check(
        name="speed",
        status="good" if speed >= _SLOW_BYTES_PER_SECOND else "warning",
        observed=f"one object of 4 MiB: put at {facts.put_bytes_per_second / 1e6:.1f} MB/s, got at"
        f" {facts.get_bytes_per_second / 1e6:.1f} MB/s",
        hint=None if speed >= _SLOW_BYTES_PER_SECOND else "a restore would take long: measure one",
    )


def _conditional(facts: Facts, options: S3Options) -> Check:
    has_it = facts.conditional == "refused"
    if options.has_conditional_put and not has_it:
        return Check(
            name="conditional put",
            status="bad",
            observed="If-None-Match: * does not keep the store from replacing an object",
            hint='set `profile` of [s3] to what the store is, or to "other": without that, two'
            " hosts could replace each other's objects unnoticed",
        )
    if has_it and not options.has_conditional_put:
        return Check(
            name="conditional put",
            status="warning",
            observed="the store can do it and the profile does not use it",
            hint="take a profile that does, if one fits: no two hosts can then replace an object",
        )
    return Check(
        name="conditional put",
        status="good" if has_it else "warning",
        observed="the store refuses to replace an object"
        if has_it
        else "the store can't; Strongroom looks before and after each put instead",
        hint=None if has_it else "let one host alone write to this bucket",
    )


def _digests(facts: Facts, options: S3Options) -> Check:
    is_signature = options.profile.digest == "signature"
    what = "the signature" if is_signature else "their Content-MD5"
    if facts.checks_digests:
        observed = f"the store refuses bytes that do not fit {what}"
        return Check(name="digests", status="good", observed=observed)
    return Check(
        name="digests",
        status="bad" if is_signature else "warning",
        observed=f"the store takes bytes that do not fit {what}",
        hint='set `profile` of [s3] to "other", which sends a Content-MD5'
        if is_signature
        else "what is damaged on its way is found by `verify` only: run it often",
    )


def _listing(facts: Facts) -> Check:
    after = facts.listed_after
    is_prompt = after is not None and after < timedelta(seconds=0.4)
    return Check(
        name="list after put",
        status="good" if is_prompt else "bad",
        observed="an object is listed as soon as it is put"
        if is_prompt
        else "an object is not listed"
        + ("" if after is None else f" until {after.total_seconds():.1f} s later"),
        hint=None
        if is_prompt
        else "prune and backup rely on lists: do not prune here, and tell the store's maker",
    )


def _deletion(facts: Facts, options: S3Options) -> Check:
    policy = "give this host the rights of `strongroom store policy --role writer` and no more"
    if facts.deletion == "refused":
        return Check(name="deletion", status="good", observed="is refused to these credentials")
    if facts.deletion == "hidden":
        return Check(
            name="deletion",
            status="warning",
            observed="these credentials can hide objects; the bytes stay as an older version",
            hint=policy,
        )
    return Check(
        name="deletion",
        status="warning" if options.lock is None else "bad",
        observed="these credentials can delete objects for good"
        + ("" if options.lock is None else ", though `lock` is set"),
        hint=policy + ("; and use a bucket with Object Lock" if options.lock is None else ""),
    )


def _lock(facts: Facts, options: S3Options) -> Iterator[Check]:
    if options.lock is not None:
        is_locked = facts.locked_until is not None
        yield Check(
            name="object lock",
            status="good" if is_locked else "bad",
            observed=f"a new object is locked until {facts.locked_until:%Y-%m-%d %H:%M}Z"
            if facts.locked_until is not None
            else "`lock` is set, and objects are not locked",
            hint=None if is_locked else "make a bucket with Object Lock; it can't be added later",
        )
    elif facts.has_lock:
        yield Check(
            name="object lock",
            status="warning",
            observed="the bucket can lock objects and `lock` is not set",
            hint='set lock = "compliance" and lock_for in [s3]',
        )
    if facts.has_versions and options.lock is None:
        yield Check(
            name="versions",
            status="warning",
            observed="the bucket keeps what is deleted as an older version",
            hint="prune frees no space here until a lifecycle rule removes older versions",
        )
