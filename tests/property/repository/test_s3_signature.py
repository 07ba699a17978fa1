"""Requests are signed as botocore signs them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode
from hypothesis import example, given
from hypothesis import strategies as st

from backup.repository.stores.s3signature import UNSIGNED, Keys, Signer, host_of

VISIBLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
words = st.text(VISIBLE, min_size=1, max_size=30)
keys = st.text(st.characters(codec="utf-8", min_codepoint=1), min_size=1, max_size=30)
headers = st.dictionaries(
    st.from_regex(r"x-amz-meta-[a-z0-9-]{1,12}|content-md5|If-None-Match", fullmatch=True),
    words,
    max_size=5,
)
credentials = st.builds(Credentials, words, words, st.none() | words.map(str.strip))
# Of one host and region, so that what it keeps is used for other secrets too.
SIGNER = Signer("s3.test", "eu-west-1")


class _Given(S3SigV4Auth):
    """Botocore's, told what the body's digest is."""

    said = UNSIGNED

    def payload(self, request: AWSRequest) -> str:
        """What the signature says of the body."""
        return self.said


def frozen(keys: Credentials) -> Keys:
    """The keys as they are now."""
    now = keys.get_frozen_credentials()
    return Keys(access_key=now.access_key or "", secret_key=now.secret_key or "", token=now.token)


def botocores(
    url: str, given_headers: dict[str, str], keys: Credentials, payload: str, region: str
) -> AWSRequest:
    """A request that botocore signed now."""
    request = AWSRequest(method="PUT", url=url, headers=given_headers, data=b"")
    signature = _Given(keys.get_frozen_credentials(), "s3", region)
    signature.said = payload
    signature.add_auth(request)
    return request


def check(
    signer: Signer,
    url: str,
    given_headers: dict[str, str],
    keys: Credentials,
    *,
    payload: str,
    region: str,
) -> None:
    """Sign at botocore's moment, and compare all that botocore added or signed."""
    theirs = botocores(url, given_headers, keys, payload, region)
    moment = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signer.sign(
        "PUT",
        urlsplit(url).path,
        given_headers,
        payload=payload,
        keys=frozen(keys),
        now=moment,
        query=urlsplit(url).query,
    )
    assert ours["authorization"] == theirs.headers["Authorization"]
    del theirs.headers["Authorization"]  # its spaces are the access key's, and stay
    for name, value in theirs.headers.items():
        assert ours[name.lower()] == " ".join(value.split())


@given(key=keys, given_headers=headers, keys=credentials, payload=st.binary().map(bytes.hex))
@example(key="a/../b//c", given_headers={}, keys=Credentials("A", "s"), payload=UNSIGNED)
@example(
    key="ü %2F+~", given_headers={"X-Amz-Meta-A": " a   b "}, keys=Credentials("A", "s", "t+/="),
    payload=UNSIGNED,
)  # fmt: skip
@example(key="k", given_headers={}, keys=Credentials("A", "s", "t  u"), payload=UNSIGNED)
def test_a_request_is_signed_as_botocore_signs_it(
    key: str, given_headers: dict[str, str], keys: Credentials, payload: str
) -> None:
    """Whatever the key, the headers, the credentials and the token; one signer for all of them."""
    url = "https://s3.test/bucket/" + percent_encode(key, safe="/~")
    check(SIGNER, url, given_headers, keys, payload=payload, region="eu-west-1")


@given(
    asked=st.dictionaries(st.sampled_from(["list-type", "prefix", "continuation-token"]), keys),
    keys=credentials,
)
def test_a_query_is_signed_as_botocore_signs_it(asked: dict[str, str], keys: Credentials) -> None:
    """Encoded and sorted as it is sent."""
    query = urlencode(sorted(asked.items()), quote_via=quote, safe="~")
    url = f"https://s3.test/bucket?{query}"
    check(SIGNER, url, {}, keys, payload=UNSIGNED, region="eu-west-1")


@pytest.mark.parametrize(
    "place",
    ["http://s3.test:80", "https://s3.test:443", "http://s3.test:443", "https://b.S3.test",
     "https://[::1]:7480", "https://[::1]", "https://some@s3.test:9000"],
)  # fmt: skip
def test_the_host_is_written_as_botocore_writes_it(place: str) -> None:
    """With the port where it is not the usual one."""
    url = f"{place}/bucket/key"
    signer = Signer(host_of(urlsplit(url)), "auto")
    check(signer, url, {}, Credentials("A", "s"), payload=UNSIGNED, region="auto")


@given(words)
def test_a_header_never_ends_its_line(word: str) -> None:
    """What is signed is what is sent, and it holds no end of a line."""
    given_headers = {"x-amz-meta-a": f"a\r\n{word}\nb"}
    keys = Keys(access_key="A", secret_key="s", token=f"t\r\n{word}\nb")
    signed = SIGNER.sign(
        "PUT", "/", given_headers, payload=UNSIGNED, keys=keys, now=datetime.now(UTC)
    )
    assert not set("\r\n") & set("".join(signed.values()))
