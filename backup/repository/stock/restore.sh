#!/usr/bin/env bash
# restore.sh IDENTITY BACKUP_DIRECTORY [NEW_DATABASE]   restore one backup with stock tools only
# Needs age, zstd, sha256sum, awk, psql and pg_restore (of the server's major version). The PG* variables
# (PGHOST, PGUSER, …) say which server. With ALLOWED_SIGNERS=FILE the manifest's signature is verified.
# The database must not exist yet; without NEW_DATABASE it gets its own name. Roles that exist stay as they are.
set -euo pipefail
[ $# -ge 2 ] && [ $# -le 3 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
identity=$1 backup=${2%/} target=${3:-} root=$(cd "$(dirname "$0")" && pwd) made=
fail() { echo "restore.sh: $*" >&2; exit 3; }
say() { echo "restore.sh: $*" >&2; }
manifest=$backup/manifest.json
[ -f "$manifest" ] || fail "$backup is no backup: it has no manifest.json"
for tool in age zstd sha256sum awk psql pg_restore; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done
if [ -n "${ALLOWED_SIGNERS:-}" ]; then
  signer=$(ssh-keygen -Y find-principals -f "$ALLOWED_SIGNERS" -s "$manifest.sig" | head -n 1) \
    || fail "the manifest is signed by nobody in $ALLOWED_SIGNERS"
  ssh-keygen -Y verify -f "$ALLOWED_SIGNERS" -I "$signer" -n strongroom-manifest@v1 -s "$manifest.sig" \
    <"$manifest" >&2 || fail "the manifest's signature is wrong"
else
  say "UNPINNED: set ALLOWED_SIGNERS=FILE to verify who wrote this backup"
fi

# The manifest is JSON with sorted keys and no spaces, so that these texts are in it exactly once.
hash_of() { sha256sum <"$1" | cut -d' ' -f1; }
case $(cat "$manifest") in
  "{\"backup_id\":\"$(basename "$backup")\",\"catalog_sha256\":\"$(hash_of "$backup/catalog.json.age")\","*) ;;
  *) fail "$manifest belongs to another backup, or catalog.json.age is damaged" ;;
esac
parts=$(grep -o '"list_sha256":"[0-9a-f]*","name":"[a-z0-9-]*"' "$manifest" | cut -d'"' -f8)
# An archive: every object checked against the signed list, decrypted, decompressed, in order.
part() {
  local list=$backup/parts/$1.chunks id sha256 bytes plain object
  grep -qF "\"list_sha256\":\"$(hash_of "$list")\",\"name\":\"$1\"" "$manifest" || fail "$list is not the list that was signed"
  while read -r id sha256 bytes plain; do
    object=$root/chunks/${sha256:0:2}/$sha256
    [ "$(hash_of "$object")" = "$sha256" ] || fail "$object is damaged or missing"
    age --decrypt -i "$identity" "$object" | zstd -dcq || fail "$object does not decrypt"
  done <"$list"
}

export LC_ALL=C PGCLIENTENCODING=UTF8 PGOPTIONS="${PGOPTIONS:-} -c default_transaction_read_only=off"
query() { psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --set=VERBOSITY=terse --dbname=postgres "$@"; }
work=$(mktemp -d)
cleanup() {
  local code=$?
  rm -rf "$work"
  if [ -n "$made" ] && [ "$code" != 0 ]; then
    say "failed: dropping the database that was being restored"
    query --set=target="$target" <<<'DROP DATABASE :"target" WITH (FORCE)' || say "drop it yourself"
  fi
}
trap cleanup EXIT
# The private half: what CREATE DATABASE has to say. It holds names, so it is not left on the disk either.
catalog=$(age --decrypt -i "$identity" "$backup/catalog.json.age") || fail "this identity does not open the backup"
# psql reads it as a variable, and the server as JSON: no name is ever pasted into SQL.
with_catalog() {
  { printf '\\set catalog `cat <&9`\n'; cat; } | query --set=target="$target" "$@" 9<<<"$catalog"
}
if [ -z "$target" ]; then
  target=$(with_catalog <<<"SELECT :'catalog'::json #>> '{database,name}' || '.'")
  target=${target%.}
fi
is_superuser=$(query --command='SELECT rolsuper FROM pg_roles WHERE rolname = current_user')
part schema >"$work/schema"    # definitions only: rows and passwords never touch the disk
globals=$(part globals)

# Roles: only statements about those that are not there yet. Nothing in them escapes a quote by a backslash.
query --command="SELECT translate(rolname, E'\n', E'\x01') FROM pg_roles" >"$work/roles"
about_new_roles() {
  awk '
    function name(s,  i, c, out) {    # the identifier at the start of s; tail is what follows
      if (s !~ /^"/) { match(s, /^[^ ;]+/); tail = substr(s, RLENGTH + 1); return substr(s, 1, RLENGTH) }
      for (i = 2; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "\"" && substr(s, ++i, 1) != "\"") break
        out = out (c == "\n" ? "\001" : c)
      }
      tail = substr(s, i); return out
    }
    function is_wanted(s,  granted) {
      if (s ~ /^SET /) return 1
      if (sub(/^(CREATE|ALTER|COMMENT ON|SECURITY LABEL FOR [^ ]+ ON) ROLE /, "", s)) return !(name(s) in there)
      if (sub(/^GRANT [A-Z ,]+ ON PARAMETER /, "", s)) { name(s); return !(name(substr(tail, 5)) in there) }
      if (!sub(/^GRANT /, "", s)) return 0    # tablespaces: their directories belong to the other machine
      granted = name(s)
      if (tail !~ /^ TO /) return 0
      return !(name(substr(tail, 5)) in there && granted in there)
    }
    FNR == NR { there[$0]; next }
    text == "" && (/^\\/ || /^--/ || /^$/) { next }
    {
      for (i = 1; i <= length($0); i++) {
        c = substr($0, i, 1)
        if (quote != "") { if (c == quote) quote = "" }
        else if (c == "\"" || c == "\047") quote = c
      }
      text = text $0
      if (quote != "" || $0 !~ /;$/) { text = text "\n"; next }
      if (is_wanted(text)) {
        print text
        # Granted by the superuser of a cluster where that had another name: then by us.
        if (match(tail, / GRANTED BY /) && text ~ /^GRANT /)
          printf "\\if :ERROR\n%s;\n\\endif\n", substr(text, 1, length(text) - length(tail) + RSTART - 1)
      }
      text = tail = ""
    }' "$work/roles" -
}
about_new_roles <<<"$globals" | query --set=ON_ERROR_STOP=0 >&2
tablespaces=()
case $globals in *"CREATE TABLESPACE "*) tablespaces=(--no-tablespaces); say "everything goes into the default tablespace" ;; esac

with_catalog <<'SQL'
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L LOCALE_PROVIDER ',
    :'target', d->>'encoding', d->>'collate', d->>'ctype')
  || CASE d->>'locale_provider'
    WHEN 'i' THEN format('icu ICU_LOCALE %L', d->>'locale') || coalesce(' ICU_RULES ' || quote_literal(d->>'icu_rules'), '')
    WHEN 'b' THEN format('builtin BUILTIN_LOCALE %L', d->>'locale')
    ELSE 'libc' END
FROM (SELECT :'catalog'::json->'database') AS catalog(d) \gexec
SQL
made=yes
restore() { PGDATABASE=$target pg_restore --exit-on-error --dbname= "${tablespaces[@]}" --section="$@"; }
restore pre-data "$work/schema"
for name in $parts; do
  case $name in rest | table-*) part "$name" | restore data ;; esac
done
# Event triggers come back before materialised views are filled, and would fire: not for a superuser.
[ "$is_superuser" != t ] || PGOPTIONS="$PGOPTIONS -c session_replication_role=replica"
# Sessions that each lock several tables of a tree of partitions deadlock now and then: those lines go one by one.
pg_restore --list --section=post-data "$work/schema" | work=$work awk '
  BEGIN { n = 100000; jobs = 2 }
  function stage(wanted) { if (jobs != wanted) { jobs = wanted; n++ } }
  /^[0-9]+; [0-9]+ [0-9]+ (CONSTRAINT|INDEX|MATERIALIZED VIEW DATA) / && !/^[0-9; ]+INDEX ATTACH / { stage(2) }
  /^[0-9]+; [0-9]+ [0-9]+ (FK CONSTRAINT|INDEX ATTACH|POLICY|ROW SECURITY|RULE|TRIGGER) / { stage(1) }
  { print >(ENVIRON["work"] "/list-" n "-" jobs) }'
for list in "$work"/list-*; do
  restore post-data --jobs="${list##*-}" --use-list="$list" "$work/schema"
done
with_catalog --set=ON_ERROR_STOP=0 <<'SQL'
SELECT s FROM (SELECT format('%I', :'target'), :'catalog'::json->'database') AS catalog(db, d), LATERAL (
  SELECT 'COMMENT ON DATABASE ' || db || ' IS ' || quote_literal(d->>'comment')
  UNION ALL SELECT 'ALTER DATABASE ' || db || ' OWNER TO ' || quote_ident(d->>'owner')
  UNION ALL SELECT 'REVOKE ALL ON DATABASE ' || db || ' FROM ' || grantee
    FROM unnest(ARRAY['PUBLIC', quote_ident(d->>'owner')]) grantee WHERE d->>'grants' IS NOT NULL
  UNION ALL SELECT 'GRANT ' || privilege || ' ON DATABASE ' || db || ' TO ' || coalesce(quote_ident(grantee), 'PUBLIC')
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM json_to_recordset(CASE WHEN d->>'grants' IS NOT NULL THEN d->'grants' ELSE '[]' END)
      AS g(grantee text, privilege text, is_grantable boolean)
  UNION ALL SELECT 'ALTER ' || coalesce('ROLE ' || quote_ident(o.role) || ' IN ', '') || 'DATABASE ' || db
    || ' SET ' || quote_ident(o.name) || ' TO ' || CASE
      -- Stored as lists of quoted identifiers (GUC_LIST_QUOTE in guc_tables.c).
      WHEN o.value <> '' AND lower(o.name) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',
        'session_preload_libraries') THEN o.value ELSE quote_literal(o.value) END
    FROM json_to_recordset(d->'settings') AS o(role text, name text, value text)
  UNION ALL SELECT 'ALTER DATABASE ' || db || ' CONNECTION LIMIT ' || (d->>'connection_limit')
) AS statements(s) WHERE s IS NOT NULL \gexec
SQL
made=
say "restored $(basename "$backup") into database $target"
