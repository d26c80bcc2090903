#!/usr/bin/env bash
# Makes the secrets that docker-compose.monitoring.yml mounts, each with a random value, in secrets/ (which git ignores).
#
#   scripts/make-secrets.sh           those that are missing; what is there stays
#   scripts/make-secrets.sh --check   says which are missing, and makes none
#
# To set one yourself, write it into its file before. After a change of redis_password run this again: redis_users.acl has
# its hash. SECRETS_DIR=… makes them elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${SECRETS_DIR:-secrets}
random=(redis_password api_token grafana_admin_password)

say() { printf '%s\n' "make-secrets: $*" >&2; }
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

case ${1-} in
  --check)
    missing=()
    for name in "${random[@]}" redis_users.acl; do [[ -s $dir/$name ]] || missing+=("$dir/$name"); done
    ((${#missing[@]})) || exit 0
    say "missing or empty: ${missing[*]}; scripts/make-secrets.sh makes them"
    exit 1
    ;;
  '') ;;
  *)
    say "there is no option '$1' (--check)"
    exit 2
    ;;
esac

# The directory keeps others out. The files can be read by everybody, since compose mounts them as they are, and the users
# in the containers have other numbers than yours.
mkdir -p "$dir"
chmod 700 "$dir"
write() { # write NAME: from stdin
  rm -f "$dir/$1.new"
  (umask 077 && cat >"$dir/$1.new")
  chmod 444 "$dir/$1.new"
  mv -f "$dir/$1.new" "$dir/$1"
}

for name in "${random[@]}"; do
  if [[ ! -s $dir/$name ]]; then
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' | write "$name"
    say "made $dir/$name"
  fi
done
# The last newline of the file is not part of the password, neither here nor in redprobe.
hash=$(printf '%s' "$(cat "$dir/redis_password")" | sha256)
sed "s/@SHA256@/$hash/" config/users.acl | write redis_users.acl
