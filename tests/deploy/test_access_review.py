"""`host access-review` on a real server: read, signed, and entered into the evidence log."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab.repositories import ended
from tests.lab.sites import PASSWORDS, Site

ROGUE = """
CREATE ROLE rogue LOGIN; GRANT portal_owner TO rogue;
GRANT TRUNCATE ON ALL TABLES IN SCHEMA portal TO portal_app;
"""


def test_a_server_as_it_was_made_raises_no_question(site: Site) -> None:
    """Every role of the inventory is there, with the line by which it gets in."""
    record = site.json("access-review", "--host", "db1")
    assert record["questions"] == 0
    roles = {role["name"]: role for role in record["roles"]}
    assert {"postgres", "portal_app", "portal_migrate", "strongroom_backup"} <= roles.keys()
    assert any("scram-sha-256" in line for line in roles["portal_app"]["reaches"])
    assert any("cert" in line for line in roles["strongroom_backup"]["reaches"])
    assert not roles["portal_owner"]["can_login"]


def test_what_nobody_declared_is_asked_and_the_answer_is_signed(
    fresh_db1: Site, tmp_path: Path
) -> None:
    """The reviewer's signature is over the very roles and questions; no password is in there."""
    site = fresh_db1
    sql = f"CREATE TABLE portal.t (id int); {ROGUE}"
    site.hosts.run("db1", "runuser -u postgres -- psql -Xq portal", stdin=sql.encode())
    key = site.files / "audit.key"
    done = site.host_verb(
        *("access-review", "--host", "db1", "--reviewer", "A. Auditor", "--decision"),
        *("changes-needed", "--note", "who is rogue?", "--signing-key", key, "-o", tmp_path),
    )
    assert done.code == 0, done.stderr
    (path,) = tmp_path.glob("access-review-db1-*.json")
    record = json.loads(path.read_bytes())
    questions = {role["name"]: role["questions"] for role in record["roles"] if role["questions"]}
    assert "nobody declared it: who needs it?" in questions["rogue"]
    assert questions["portal_app"] == [
        "portal: TRUNCATE on 1 tables of schema portal is not declared"
    ]
    assert record["sign_off"]["decision"] == "changes-needed"
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"auditor {key.with_suffix('.key.pub').read_text()}")
    verify = 'ssh-keygen -Y verify -f "$1" -I auditor -n strongroom-evidence@v1 -s "$2.sig" <"$2"'
    checked = ended(("/bin/bash", "-c", verify, "bash", str(signers), str(path)))
    assert checked.code == 0, checked.stderr
    page = path.with_suffix(".txt").read_text()
    assert "QUESTION" in page
    assert not any(password in page for password in PASSWORDS.values())
    assert "SCRAM" not in path.read_text()


def test_half_a_signature_is_refused(site: Site) -> None:
    """A review is signed with everything or with nothing."""
    assert site.host_verb("access-review", "--reviewer", "A. Auditor").code == 2
