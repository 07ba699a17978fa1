"""`strongroom restore-test`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backup.cli.options import (
    any_path,
    database_option,
    from_option,
    identity_option,
    json_option,
    load_settings,
    settings_options,
    signers_option,
    slot_option,
)
from backup.errors import SettingsError, StrongroomError

if TYPE_CHECKING:
    from backup.evidence.selection import Choice
    from backup.evidence.slot import Slot
    from backup.evidence.verdict import Verdict
    from backup.journeys.restoretest import Concluded
    from backup.repository.access import Repository
    from backup.settings import Settings
    from backup.testpolicy import RestoreTestPolicy

COULD_NOT_START = 3
_INCONCLUSIVE = 2
_SHOWN_FINDINGS = 20


class _UnusableError(click.UsageError):
    exit_code = COULD_NOT_START


class _Command(click.Command):
    """A verb whose codes tell verdicts: whatever keeps it from one has a code of its own."""

    def make_context(self, *arguments: Any, **named: Any) -> click.Context:  # noqa: ANN401
        """Parse the options."""
        try:
            return super().make_context(*arguments, **named)
        except click.UsageError as error:
            raise _UnusableError(error.message, ctx=error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the test; return the exit code."""
        from backup.cli import tell

        try:
            return super().invoke(ctx)
        except StrongroomError as error:
            tell(error)
            return COULD_NOT_START
        except click.UsageError as error:
            raise _UnusableError(error.message, ctx=error.ctx) from error


@click.command(
    name="restore-test",
    cls=_Command,
    short_help="Prove that a backup restores, and write down the proof.",
    epilog="Example: strongroom restore-test latest --identity /media/key/identity.txt",
)
@click.argument("backup", required=False)
@click.option("--oldest", "rule", flag_value="oldest", help="The oldest backup there is.")
@click.option("--random", "rule", flag_value="random", help="One by a seed that is logged first.")
@click.option("--seed", metavar="HEX", help="The seed for --random.  [default: a new one]")
@settings_options
@database_option
@from_option
@click.option(
    "--require-locked",
    metavar="DURATION",
    help="INCONCLUSIVE unless nobody can delete any of it for so long (P30D).",
)
@signers_option
@identity_option
@click.option("-j", "--jobs", type=int, help="Sessions to use.  [default: cores, at most 4]")
@click.option(
    "--table-parallel",
    type=click.IntRange(1),
    metavar="N",
    help="Tables to count and digest at once.  [default: as --jobs]",
)
@click.option(
    "--escrow",
    metavar="FINGERPRINT",
    help="Of the recipient (SHA256:…, as `show` prints it) whose identity has to open it alone.",
)
@click.option("--scratch-directory", type=any_path, help="Where to restore to.  [default: TMPDIR]")
@click.option("--reports-directory", type=any_path, help="Where the report goes.")
@click.option("--dry-run", is_flag=True, help="Say which backup it would be, and stop.")
@slot_option
@json_option
def command(
    *,
    backup: str | None,
    rule: str | None,
    seed: str | None,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    from_copy: str | None,
    require_locked: str | None,
    allowed_signers: Path | None,
    identity: Path | None,
    jobs: int | None,
    table_parallel: int | None,
    escrow: str | None,
    scratch_directory: Path | None,
    reports_directory: Path | None,
    dry_run: bool,
    slot: Slot | None,
    as_json: bool,
) -> int:
    """Restore a backup (an id or `latest`) into a scratch cluster, and compare it with its source.

    The scratch cluster is reachable by nobody else and is removed at the end. What came of it is
    signed, entered in the evidence log and published as a report.

    Exit codes: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 the test could not start (docs/verdict.md).
    """
    import os
    from datetime import UTC, datetime

    from backup import app
    from backup.cli import interruptible
    from backup.cli.output import print_json, watch
    from backup.journeys.restoretest import restore_test

    choice = _choice(backup, rule, seed)

    def read_settings() -> Settings:
        return load_settings(
            config,
            repository=repository,
            state_directory=state_directory,
            allowed_signers=allowed_signers,
            identity=identity,
            jobs=jobs,
            scratch_directory=scratch_directory,
            reports_directory=reports_directory,
        )

    def policy_now() -> RestoreTestPolicy | None:
        try:
            return app.restore_test_policy(_asked_of(read_settings(), database))
        except (SettingsError, click.UsageError):
            return None

    settings = read_settings()
    opened = app.open_repository(settings, from_copy, is_judged=not dry_run)
    if dry_run:
        _print_choice(opened, choice, database, as_json=as_json)
        return 0
    demand = app.demand(settings, opened, from_copy, _locked_for(require_locked))
    examiner = app.examiner(
        _asked_of(settings, database),
        opened,
        demand,
        escrow=escrow,
        table_parallel=table_parallel,
        policy_now=policy_now,
    )
    with watch(is_quiet=as_json) as progress:
        tested = interruptible.run(
            restore_test(
                examiner,
                choice,
                database=database,
                clock=lambda: datetime.now(UTC),
                random=os.urandom,
                progress=progress,
                slot=slot,
            )
        )
    if as_json:
        print_json(_for_programs(tested))
    else:
        _print_result(tested)
    return _exit_code(tested)


def _locked_for(text: str | None) -> timedelta | None:
    from pydantic import TypeAdapter, ValidationError

    from backup.sections import Duration

    try:
        return None if text is None else TypeAdapter[timedelta](Duration).validate_python(text)
    except ValidationError as error:
        raise click.BadParameter(f"--require-locked {text}: durations look like P30D") from error


def _asked_of(settings: Settings, database: str | None) -> Settings:
    """Return the settings with the questions, targets and waivers of the database's own table."""
    if database is None and len(settings.databases) > 1:
        raise click.UsageError("the settings have several databases: add --database NAME")
    if database is not None and database not in settings.databases:
        return settings  # backups of a database that is no longer backed up can be tested still
    return settings.selected(database)


def _choice(backup: str | None, rule: str | None, seed: str | None) -> Choice:
    import os

    from backup.evidence.selection import SEED_BYTES, Choice

    if backup is not None and rule is not None:
        raise click.UsageError("name a backup, or --oldest, or --random")
    if seed is not None and rule != "random":
        raise click.UsageError("--seed goes with --random")
    if rule == "random":
        try:
            given = os.urandom(SEED_BYTES) if seed is None else bytes.fromhex(seed)
        except ValueError as error:
            raise click.UsageError("--seed is an even number of hex digits") from error
        return Choice(rule="random", seed=given)
    if rule == "oldest":
        return Choice(rule="oldest")
    if backup in {None, "latest"}:
        return Choice(rule="latest")
    return Choice(rule="named", backup_id=backup)


def _print_choice(
    opened: Repository, choice: Choice, database: str | None, *, as_json: bool
) -> None:
    from backup.cli.output import print_json
    from backup.journeys.restoretest import chosen

    key, selection = chosen(opened, choice, database)
    if as_json:
        print_json({"backup_id": key.id.text, "database": key.database, "selection": selection})
        return
    click.echo(
        f"Would test {key.id} of {key.database}: {selection.rule},"
        f" number {selection.position + 1} of {selection.population}"
    )


def _exit_code(tested: Concluded) -> int:
    from backup.evidence.verdict import Word

    code = {Word.PASS: 0, Word.FAIL: 1, Word.INCONCLUSIVE: _INCONCLUSIVE}[
        tested.report.verdict.word
    ]
    # A PASS that the log does not tell of, or that lies on one host only, is no evidence yet.
    is_lacking = tested.published.refusal is not None or tested.published.unsealed is not None
    return _INCONCLUSIVE if code == 0 and is_lacking else code


def _for_programs(tested: Concluded) -> dict[str, object]:
    report = tested.report
    return {
        "verdict": report.verdict.sentence,
        "word": report.verdict.word.value,
        "level": report.verdict.level,
        "seal": report.verdict.seal,
        "codes": [finding.code.value for finding in report.verdict.findings],
        "findings": report.verdict.findings,
        "report_id": report.report_id,
        "report": tested.published.path,
        "report_sha256": tested.published.report_sha256,
        "backup_id": report.backup.backup_id,
        "database": report.backup.database,
        "rto_ms": report.objectives.rto_ms,
        "rpo_ms": report.objectives.rpo_ms,
        "coverage": report.coverage,
        "is_logged": report.log is not None and tested.published.refusal is None,
        "is_sealed": tested.published.unsealed is None,
    }


def _print_result(tested: Concluded) -> None:
    from backup.cli import tell
    from backup.evidence.render.words import span, visible

    report = tested.report
    coverage, times = report.coverage, report.objectives
    click.echo(f"{_headline(report.verdict)}")
    click.echo(
        f"  backup {report.backup.backup_id} of {visible(report.backup.database)},"
        f" {span(times.rpo_ms)} old: {report.selection.rule},"
        f" number {report.selection.position + 1} of {report.selection.population}"
    )
    click.echo(
        f"  {coverage.tables_counted} of {coverage.tables_in_scope} tables compared,"
        f" {coverage.rows_compared} rows, {coverage.tables_digested} tables by their content;"
        f" {coverage.checks_run} checks ran, {coverage.checks_not_run} did not"
    )
    if times.rto_ms is not None:
        target = "" if times.rto_target_ms is None else f" (target {span(times.rto_target_ms)})"
        click.echo(f"  recovery took {span(times.rto_ms)}{target}")
    findings = report.verdict.findings
    for finding in findings[:_SHOWN_FINDINGS]:
        seen = "" if finding.observed is None else f": {visible(finding.observed)}"
        due = "" if finding.expected is None else f", expected {visible(finding.expected)}"
        answered = "" if finding.waiver is None else f" (waived by {finding.waiver.approver})"
        click.echo(f"  {finding.code}  {visible(finding.what)}{seen}{due}{answered}")
    if len(findings) > _SHOWN_FINDINGS:
        click.echo(f"  and {len(findings) - _SHOWN_FINDINGS} more, in the report")
    if tested.published.refusal is not None:
        tell(tested.published.refusal)
        click.echo("  the evidence log does not tell of this test, so it is no evidence of a PASS")
    if tested.published.unsealed is not None:
        tell(tested.published.unsealed)
        click.echo(
            "  the sealed copy is not in the repository: the next restore test puts it there"
        )
    click.echo(f"Report: {tested.published.path}")


def _headline(verdict: Verdict) -> str:
    depth = "nothing is proven" if verdict.level < 0 else f"level {verdict.level}"
    return f"{verdict.sentence}  {depth}, seal S{verdict.seal}"
