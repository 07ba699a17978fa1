"""Rules, dashboard, unit and schema are right by the tools that will read them."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from backup.effective import schema
from scheduler.metrics import exposition, families
from scheduler.status import Expiry, Running
from tests.lab.repositories import ended
from tests.unit.scheduler.test_health import CASES, DAY, NOW, status

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "scheduler" / "monitoring"
RULES = MONITORING / "strongroom.rules.yml"
HOST_RULES = ROOT / "deploy" / "templates" / "hosts.rules.yml"
DASHBOARD = MONITORING / "strongroom.dashboard.json"
UNIT = ROOT / "scheduler" / "units" / "strongroom-daemon.service"
DOCUMENT = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
FULL = status(
    replace(
        CASES["never proven"][0],
        running=(Running(job="backup", database="portal", since=NOW),),
        expiries=(Expiry(kind="certificate", name="c", at=NOW + 90 * DAY),),
        repository_free_bytes=10**9,
    )
)
METRICS = {family.name for family in families(FULL)}


def tool(name: str) -> str:
    """A program of Debian's, or the test is skipped, which fails CI."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def named(text: str) -> set[str]:
    """Every metric of ours that a text names."""
    return set(re.findall(r"\bstrongroom_[a-z_]+", text))


def test_the_metrics_pass_promtool(tmp_path: Path) -> None:
    """Names, units and help as Prometheus wants them."""
    (tmp_path / "metrics").write_bytes(exposition(FULL))
    done = ended(("/bin/sh", "-c", f"{tool('promtool')} check metrics <{tmp_path}/metrics"))
    assert (done.code, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("rules", "tests"), [(RULES, "rules_test.yml"), (HOST_RULES, "hosts_rules_test.yml")]
)
def test_the_rules_pass_promtool_and_fire_when_they_should(
    tmp_path: Path, rules: Path, tests: str
) -> None:
    """Quiet while all is well; each alert fires when its thing is wrong."""
    cases = Path(__file__).with_name(tests)
    shutil.copy(rules, tmp_path)
    shutil.copy(cases, tmp_path)
    checked = ended((tool("promtool"), "check", "rules", str(tmp_path / rules.name)))
    assert checked.code == 0, checked.stdout + checked.stderr
    tested = ended((tool("promtool"), "test", "rules", str(tmp_path / tests)))
    assert tested.code == 0, tested.stdout + tested.stderr
    alerts = set(re.findall(r"alert: (\w+)", rules.read_text()))
    assert alerts == set(re.findall(r'alertname="(\w+)"', cases.read_text()))


def test_every_metric_of_rules_and_dashboard_exists() -> None:
    """A panel that shows nothing, or an alert that never fires, is worse than none."""
    for text in (RULES.read_text(), DASHBOARD.read_text()):
        assert named(text)
        assert named(text) <= METRICS
    assert json.loads(DASHBOARD.read_text())["panels"]


def test_the_document_lists_every_metric_alert_and_problem() -> None:
    """What each means and the first command is one search away."""
    assert named(DOCUMENT) - {"strongroom_daemon"} == METRICS
    for alert in re.findall(r"alert: (\w+)", RULES.read_text()):
        assert f"`{alert}`" in DOCUMENT
    for _, code, _ in CASES.values():
        assert f"`{code}`" in DOCUMENT, code


def test_the_unit_is_valid_and_hardly_exposed(tmp_path: Path) -> None:
    """By systemd's own tools: exposure of 1.5 at most, and nothing that it ignores."""
    program = Path(sys.executable).with_name("strongroom")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/strongroom/bin/strongroom", str(program)))
    verified = ended((tool("systemd-analyze"), "verify", str(unit)))
    assert (verified.code, verified.stderr) == (0, "")
    secure = ended(
        (tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(unit))
    )
    assert secure.code == 0, secure.stdout


def test_the_schema_takes_the_settings_of_the_documentation() -> None:
    """Every example of docs/settings.md is valid."""
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 4
    for example in examples:
        jsonschema.validate(_plain(tomllib.loads(example)), schema())


@pytest.mark.parametrize(
    "text",
    [
        'repositry = "/srv/backups"',
        '[databases.portal]\nshedule = "0 * * * *"',
        "[retention]\nkeep_dayly = 3",
        "[notify]\nurls = []",
        "jobs = 0",
        'log_format = "xml"',
        "stall_timeout = true",
    ],
)
def test_the_schema_refuses_typos(text: str) -> None:
    """An editor shows what the program would refuse."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_plain(tomllib.loads(text)), schema())


def _plain(value: object) -> object:
    """TOML's times as an editor's plugin hands them on: text."""
    return json.loads(json.dumps(value, default=str))
