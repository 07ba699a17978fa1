"""What is asked of a machine: packages, accounts, files, units, what others reach."""

from __future__ import annotations

from typing import Final

from deploy.core.checks import Probe, Scope, Target
from deploy.core.checks_access import CA_KEY, HBA_PROBES, TLS_PROBES
from deploy.core.checks_replication import NOT_OF_A_REPLICA, REPLICATION_PROBES
from deploy.core.checks_server import SERVER_PROBES
from deploy.core.reach import open_ports

_APPLY: Final = "strongroom host apply"
# Exposure as systemd-analyze rates it: 0 is a fortress, 10 is no wall at all.
DAEMON_EXPOSURE: Final = 1.5
SERVER_EXPOSURE: Final = 5.5
DAEMON_UNIT: Final = "strongroom-daemon.service"
CREDENTIALS: Final = "/etc/strongroom/credentials"
_HOMES: Final = "/root /home/* /var/lib/postgresql /var/lib/strongroom"


def _shell(  # noqa: PLR0917 - rows of a table
    id_: str, what: str, text: str, expected: str, hint: str, scope: Scope = "host"
) -> Probe:
    """Return a probe that must find nothing."""
    return Probe(
        id=id_, what=what, language="shell", scope=scope, text=text, expected=expected, hint=hint
    )


def _modes(id_: str, what: str, places: str, bad: str, expected: str) -> Probe:
    return _shell(
        id_,
        what,
        f"find {places} {bad} -printf '%p is %M %u:%g\\n'",
        expected,
        f"{_APPLY} sets owners and modes",
    )


def _exposure(unit: str, most: float) -> str:
    return (
        f"systemd-analyze security --no-pager {unit} 2>&1 | awk '/Overall exposure/ "
        f'{{ found = 1; for (i = 1; i <= NF; i++) if ($i + 0 > {most}) print "exposure", $i }} '
        'END { if (!found) print "systemd-analyze says nothing of it" }\''
    )


def _dialled(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    """Judge `PORT from ADDRESS`: each port that answers has to be declared open to that address."""
    found = []
    for item in items:
        port, _, address = item.partition(" from ")
        if int(port) not in open_ports(target.estate, target.host.name, address):
            found.append(f"port {port} answers {address}")
    return tuple(found)


def _is_monitored(target: Target) -> bool:
    return target.estate.site.monitoring is not None


def _credentials(target: Target) -> frozenset[str]:
    assert target.backup_host is not None
    return frozenset(f"{CREDENTIALS}/{name}" for name in target.backup_host.credentials)


# What the deploys set, as far as this kernel has it and this host may set it: a container shares
# its host's.
_SYSCTL: Final = " ".join(
    (
        "kernel.randomize_va_space=2 kernel.dmesg_restrict=1 kernel.kptr_restrict=[12]",
        "fs.protected_hardlinks=1 fs.protected_symlinks=1 fs.suid_dumpable=0",
        "net.ipv4.tcp_syncookies=1 net.ipv4.conf.all.accept_redirects=0",
        "net.ipv4.conf.all.accept_source_route=0",
    )
)
EVERY_HOST: Final = (
    _shell(
        "no-pgpassword",
        "no password in the environment of anybody",
        "grep -lsE 'PGPASSWORD=' /etc/environment /etc/profile /etc/profile.d/* /etc/default/*"
        " /etc/systemd/system/*.service /etc/systemd/system/*/*.conf /proc/[0-9]*/environ"
        f" $(ls -d {_HOMES} 2>/dev/null | sed 's|$|/.profile|') /root/.bashrc; true",
        "PGPASSWORD is set nowhere",
        "use a certificate, or a password file of mode 0600",
    ),
    _shell(
        "no-passwords-in-files",
        "no password in histories and service files",
        f"for h in {_HOMES}; do for f in .psql_history .bash_history .pg_service.conf; do"
        " grep -lsiE 'password *=|password +'\"'\"'|postgres(ql)?://[^:/ ]+:[^@ ]+@' \"$h/$f\";"
        " done; done; grep -lsE '^password' /etc/pg_service.conf"
        " /etc/postgresql-common/pg_service.conf; true",
        "none",
        "change the password that is written there, then delete the line",
    ),
    _shell(
        "ssh-by-key",
        "nobody logs in over SSH with a password as root",
        "sshd -T 2>/dev/null | grep -E '^(permitrootlogin yes|permitemptypasswords yes)'; true",
        "PermitRootLogin is not yes, PermitEmptyPasswords is no",
        "/etc/ssh/sshd_config.d",
    ),
    _shell(
        "sudoers",
        "sudo's rules are whole, and no service account has any",
        "visudo -cq 2>&1; for u in postgres strongroom; do id $u >/dev/null 2>&1 &&"
        " sudo -n -l -U $u 2>/dev/null | grep -q 'may run' && echo \"$u may use sudo\"; done;"
        " find /etc/sudoers /etc/sudoers.d -type f -perm /0022; true",
        "nothing for postgres and strongroom",
        "visudo: take the rule away",
    ),
    _shell(
        "sysctl",
        "the kernel keeps to itself",
        f"for one in {_SYSCTL}; do f=/proc/sys/$(echo ${{one%%=*}} | tr . /);"
        " [ -w $f ] || continue; case $(cat $f) in ${one#*=}) ;;"
        ' *) echo "${one%%=*} = $(cat $f)" ;; esac; done',
        "the values that are set at boot, where this host may set them",
        _APPLY,
    ),
    _shell(
        "time-synchronized",
        "the clock is kept right",
        "systemd-detect-virt -qc || timedatectl show -P NTPSynchronized | grep -qx yes ||"
        " echo 'the clock is not synchronized'",
        "synchronized, or a container with its host's clock",
        "timedatectl timesync-status says why",
    ),
    _shell(
        "automatic-updates",
        "security updates come by themselves",
        "apt-config dump APT::Periodic::Unattended-Upgrade | grep -q '\"[1-9]' ||"
        " echo 'unattended upgrades are off'",
        "on",
        f"site.automatic_updates; {_APPLY}",
    ),
    _shell(
        "packet-filter",
        "the packet filter drops what is not declared",
        "nft list table inet strongroom 2>/dev/null | grep -q 'hook input.*policy drop' ||"
        " echo 'no filter with policy drop'; systemctl is-enabled -q nftables ||"
        " echo 'not loaded at boot'",
        "loaded now and at boot",
        _APPLY,
    ),
    Probe(
        id="ports",
        what="from here, only what is declared answers",
        language="dial",
        text="connect to every port that the host listens on",
        expected="the ports that are declared open to this address",
        hint=f"declare an opening, or stop what listens; {_APPLY}",
        judge=_dialled,
    ),
    CA_KEY,
    Probe(
        id="exporters",
        what="exporters start at boot, run, and listen to the host's own address only",
        language="shell",
        text='for u in @exporters@; do systemctl is-enabled -q $u || echo "$u is not enabled";'
        ' systemctl is-active -q $u || echo "$u does not run"; done;'
        ' ss -Hltn | awk \'$4 ~ /:(9100|9187|9188)$/ && index($4, "@address@") == 0'
        ' { print $4, "is another address" }\'',
        expected="enabled, active, on @address@",
        hint=_APPLY,
        applies=_is_monitored,
    ),
)
_SERVER_HOST: Final = (
    _shell(
        "package-origin",
        "the server's package comes from a repository",
        "apt-cache policy postgresql-@major@ | awk '/\\*\\*\\*/ { getline; if ($0 !~ /http|file:/)"
        ' print "no repository has it"; found = 1 } END { if (!found) print "not installed" }\'',
        "a repository that apt knows has this very version",
        "apt-get install --reinstall postgresql-@major@",
    ),
    _shell(
        "latest-minor",
        "the server is the newest of its major",
        "apt-cache policy postgresql-@major@ | awk '/Installed:/ { i = $2 } /Candidate:/ { c = $2 }"
        ' END { if (i != c) print i, "where", c, "is to be had" }\'',
        "no newer version in the repositories",
        "apt-get update && apt-get install --only-upgrade postgresql-@major@",
    ),
    _shell(
        "unit",
        "the server's unit starts at boot, runs, and accepts sessions",
        "systemctl is-enabled -q postgresql || echo 'not enabled';"
        " systemctl is-active -q postgresql@@major@-main || echo 'not running';"
        " runuser -u postgres -- pg_isready -q -p @port@ || echo 'accepts no sessions'",
        "enabled, active, accepting",
        "journalctl -u postgresql@@major@-main",
    ),
    Probe(
        id="exporter-sees-server",
        what="PostgreSQL's exporter comes in, as the role that sees statistics only",
        language="shell",
        # The first time after a restart of the server it finds its old session ended.
        text="for time in 1 2; do exec 3<>/dev/tcp/@address@/9187 && printf"
        " 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^pg_up 1' <&3 && exit; done;"
        " echo 'pg_up is not 1'",
        expected="pg_up is 1",
        hint="journalctl -u prometheus-postgres-exporter",
        applies=_is_monitored,
    ),
    _shell(
        "server-exposure",
        "the server's unit is in a sandbox",
        _exposure("postgresql@@major@-main.service", SERVER_EXPOSURE),
        f"exposure {SERVER_EXPOSURE} or less",
        _APPLY,
    ),
    _modes(
        *("mode-data", "the data is the server's alone", "@data@"),
        *("-maxdepth 0 \\( -perm /0027 -o ! -user postgres \\)", "0750 or less, of postgres"),
    ),
    _modes(
        *("mode-configuration", "nobody else writes the configuration", "@conf@"),
        *("-type f \\( -perm /0022 -o ! \\( -user postgres -o -user root \\) \\)", "of postgres"),
    ),
    _modes(
        *("mode-access", "who gets in how is not for everybody", "@conf@/pg_hba.conf"),
        *("@conf@/pg_ident.conf -perm /0137", "0640 or less"),
    ),
    _modes(
        *("mode-keys", "keys are the server's alone", "@conf@ @data@ -maxdepth 2 -name '*.key'"),
        *("\\( -perm /0177 -o ! -user postgres \\)", "0600, of postgres"),
    ),
    _modes(
        *("mode-socket", "the socket's directory is the server's", "/run/postgresql"),
        *("-maxdepth 0 \\( -perm /0002 -o ! -user postgres \\)", "of postgres, not for all"),
    ),
    _modes(
        *("mode-log", "others do not read the log", "/var/log/postgresql"),
        *("-type f -perm /0007", "0640 or less"),
    ),
    _shell(
        "postgres-locked",
        "nobody logs in as postgres with a password",
        "passwd -S postgres | awk '$2 !~ /^L/ { print \"the account has a password: \" $2 }';"
        " ls /var/lib/postgresql/.ssh/authorized_keys 2>/dev/null; true",
        "locked, and without authorized_keys",
        "passwd -l postgres; rm ~postgres/.ssh/authorized_keys",
    ),
)
_BACKUP_HOST: Final = (
    _shell(
        "daemon",
        "the daemon starts at boot and runs",
        f"systemctl is-enabled -q {DAEMON_UNIT} || echo 'not enabled';"
        f" systemctl is-active -q {DAEMON_UNIT} || echo 'not running'",
        "enabled, active",
        f"journalctl -u {DAEMON_UNIT}; strongroom status",
    ),
    _shell(
        "daemon-exposure",
        "the daemon's unit is in a sandbox",
        _exposure(DAEMON_UNIT, DAEMON_EXPOSURE),
        f"exposure {DAEMON_EXPOSURE} or less",
        _APPLY,
    ),
    Probe(
        id="no-identity",
        what="nothing here can read the backups, but what restore tests are declared to need",
        language="shell",
        text="grep -rlsIE 'AGE-SECRET-KEY-(PQ-)?1' /etc /home /root /srv/*.txt"
        " /var/lib/strongroom; true",
        expected="no identity that is not a declared credential",
        hint="take it away, and consider who has read it: docs/runbooks/lost-backup-host.md",
        allowed=_credentials,
    ),
    _modes(
        *("mode-secrets", "keys and credentials are nobody else's"),
        *("/etc/strongroom /var/lib/strongroom", "-type f \\( -name '*.key' -o -path '*cred*' \\)"
          " -perm /0137", "0640 or less"),
    ),
)  # fmt: skip


def probes_of(target: Target) -> tuple[Probe, ...]:
    """Return all that is asked of a host."""
    if target.server is not None:
        probes = (*_SERVER_HOST, *EVERY_HOST, *SERVER_PROBES, *REPLICATION_PROBES, *HBA_PROBES)
        left_out = frozenset() if target.replica is None else NOT_OF_A_REPLICA
        return tuple(one for one in (*probes, *TLS_PROBES) if one.id not in left_out)
    return (*_BACKUP_HOST, *EVERY_HOST)
