#!/bin/sh
# Installs the Debian packages that the suite talks to, or says which are missing.
# One name a line: the program that is looked for, then the package that has it.
set -eu
needed="prometheus-node-exporter:prometheus-node-exporter curl:curl git:git ip:iproute2 faketime:faketime
prometheus-blackbox-exporter:prometheus-blackbox-exporter"
missing=""
for pair in $needed; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "make test needs these Debian packages; install them as root: apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# policy-rc.d: the packages' own services must not start; the tests start what they need.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
# shellcheck disable=SC2086  # A list of package names.
apt-get -qq install -y --no-install-recommends $missing >/dev/null
rm -f /usr/sbin/policy-rc.d
