#!/bin/sh
# Installs the programs that GTFOBins knows, as far as Debian has them, in a mount namespace of its own, and runs the test there: the
# machine keeps nothing of it. $1: the test program's directory to run cargo in; the rest: packages.
set -eu
tree=$1
shift
scratch=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$scratch"
for at in usr etc var/lib var/cache var/log; do
	mkdir -p "$scratch/$at.up" "$scratch/$at.work"
	mount -t overlay -o "lowerdir=/$at,upperdir=$scratch/$at.up,workdir=$scratch/$at.work" overlay "/$at"
done
export DEBIAN_FRONTEND=noninteractive
# No service of a package starts.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
# All at once; what the release at hand does not have is left out, and named.
known=
for package in "$@"; do
	if apt-cache show "$package" >/dev/null 2>&1; then known="$known $package"; else echo "not there: $package"; fi
done
apt-get install -y -qq --no-install-recommends $known >"$scratch/log" 2>&1 || { tail -5 "$scratch/log"; exit 1; }
cd "$tree"
RINGFENCE_LONG=1 cargo test --locked -q -p ringfence-real --test main -- --nocapture no_entry_gets_a_shell interpreters::
