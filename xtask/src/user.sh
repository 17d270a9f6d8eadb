# Runs a command as an unprivileged user, inside mount and pid namespaces where that user can read what it needs:
# XT_KEEP lists directories to keep reachable at their own paths, XT_HIDDEN the ancestors only root may enter,
# XT_SCRATCH is a directory of this run, XT_CARGO and XT_RUSTUP the toolchain's homes, XT_UID the user,
# XT_TMPDIR where its temporary files lie.
set -eu
mount --make-rprivate /
if [ -n "${RUSTUP_TOOLCHAIN:-}" ] && [ -d "$XT_RUSTUP/toolchains/$RUSTUP_TOOLCHAIN" ]; then
    basename "$(readlink -f "$XT_RUSTUP/toolchains/$RUSTUP_TOOLCHAIN")" > "$XT_SCRATCH/toolchain"
fi
home=$XT_SCRATCH/home/tester
mkdir -p "$home/.cargo" "$XT_SCRATCH/keep" "$XT_SCRATCH/tmp"
n=0
for directory in $XT_KEEP "$XT_CARGO" "$XT_RUSTUP"; do
    n=$((n + 1))
    mkdir -p "$XT_SCRATCH/keep/$n"
    [ ! -d "$directory" ] || mount --rbind "$directory" "$XT_SCRATCH/keep/$n"
done
for part in bin registry git; do
    if [ -d "$XT_CARGO/$part" ]; then
        mkdir -p "$home/.cargo/$part"
        mount --bind "$XT_CARGO/$part" "$home/.cargo/$part"
        mount -o remount,bind,ro "$home/.cargo/$part"
    fi
done
for file in config.toml config; do
    [ ! -f "$XT_CARGO/$file" ] || cp "$XT_CARGO/$file" "$home/.cargo/$file"
done
if [ -d "$XT_RUSTUP" ]; then
    mkdir -p "$home/.rustup"
    mount --bind "$XT_RUSTUP" "$home/.rustup"
    mount -o remount,bind,ro "$home/.rustup"
fi
grep -v -e "^[^:]*:[^:]*:$XT_UID:" -e '^tester:' /etc/passwd > "$XT_SCRATCH/passwd" || true
echo "tester:x:$XT_UID:$XT_UID:A tester:/home/tester:/bin/bash" >> "$XT_SCRATCH/passwd"
grep -v -e "^[^:]*:[^:]*:$XT_UID:" -e '^tester:' /etc/group > "$XT_SCRATCH/group" || true
echo "tester:x:$XT_UID:" >> "$XT_SCRATCH/group"
mount --bind "$XT_SCRATCH/passwd" /etc/passwd
mount --bind "$XT_SCRATCH/group" /etc/group
chown "$XT_UID:$XT_UID" "$home" "$home/.cargo" "$XT_SCRATCH/tmp"
find "$home/.cargo" -maxdepth 1 -type f -exec chown "$XT_UID:$XT_UID" {} +

# A directory that only root may enter is covered by an empty one that leads to what is kept.
for hidden in $XT_HIDDEN; do
    mount -t tmpfs -o mode=755 ringfence-cover "$hidden"
done
n=0
for directory in $XT_KEEP; do
    n=$((n + 1))
    for hidden in $XT_HIDDEN; do
        case $directory in
        "$hidden"/*)
            mkdir -p "$directory"
            mount --rbind "$XT_SCRATCH/keep/$n" "$directory"
            ;;
        esac
    done
done
if [ -n "$XT_TMP" ]; then
    mkdir -p "$XT_TMP"
    mount --bind "$XT_SCRATCH/tmp" "$XT_TMP"
fi
# With what is mounted below it: the toolchain and the package client's directory.
mount --rbind "$XT_SCRATCH/home" /home
# A pinned toolchain may be a link that leads into a home only root may enter: its own name works everywhere.
if [ -n "${RUSTUP_TOOLCHAIN:-}" ] && [ -e "$XT_SCRATCH/toolchain" ]; then
    RUSTUP_TOOLCHAIN=$(cat "$XT_SCRATCH/toolchain")
    export RUSTUP_TOOLCHAIN
fi
# Where udev is at work, everybody may open it.
if [ -e /dev/fuse ]; then
    mknod -m 666 "$XT_SCRATCH/fuse" c 10 229
    mount --bind "$XT_SCRATCH/fuse" /dev/fuse
fi
cd "$XT_ROOT"
export HOME=/home/tester USER=tester LOGNAME=tester CARGO_HOME=/home/tester/.cargo RUSTUP_HOME=/home/tester/.rustup
export PATH="$CARGO_HOME/bin:/usr/local/bin:/usr/bin:/bin" XDG_RUNTIME_DIR= TMPDIR=$XT_TMPDIR
unset XDG_STATE_HOME XDG_CONFIG_HOME XDG_CACHE_HOME
setpriv --reuid "$XT_UID" --regid "$XT_UID" --clear-groups --inh-caps=-all -- "$@"
