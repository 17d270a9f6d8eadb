# Runs in the guest as its first program: lowers what a variant lowers, tries, and tells the host by the second serial line.
# /dev/vdb holds one variant a line: name, before, after, rows, the tier of each of the two (`-` where it refuses), options;
# separated by bars.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
# As udev would.
modprobe fuse 2> /dev/null
chmod 666 /dev/fuse /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx
ip link set lo up 2> /dev/null
mount --make-rshared /
stty -F /dev/ttyS1 raw
GROUPS_AT=/sys/fs/cgroup
RINGFENCE=/usr/bin/ringfence

say() { local IFS=$'\t'; printf '%s\n' "$*" > /dev/ttyS1; }
packed() { base64 -w0 < "$1"; }

if grep -q ringfence.cgroups=1 /proc/cmdline; then
    mount -t tmpfs -o mode=755 tmpfs $GROUPS_AT
    for controller in memory pids cpu freezer; do
        mkdir -p $GROUPS_AT/$controller
        mount -t cgroup -o $controller cgroup $GROUPS_AT/$controller 2> /dev/null ||
            { rmdir $GROUPS_AT/$controller; say note 'control groups v1' "no controller $controller in version 1"; }
    done
else
    mount -t cgroup2 -o nsdelegate cgroup2 $GROUPS_AT
    echo '+memory +pids +cpu' > $GROUPS_AT/cgroup.subtree_control
fi

# What a login session has: a group of its own to make others in.
delegate() {
    mkdir -p $GROUPS_AT/session/shell $GROUPS_AT/plain
    echo '+memory +pids +cpu' > $GROUPS_AT/session/cgroup.subtree_control
    chown -R agent:agent $GROUPS_AT/session
    GROUP=$GROUPS_AT/session/shell
}
undelegate() { GROUP=$GROUPS_AT/plain; }
grep -q ringfence.cgroups=1 /proc/cmdline || delegate

no_fuse() {
    umount /sys/fs/fuse/connections 2> /dev/null
    rm -f /dev/fuse
    # Where it is a module, it goes too; /dev/fuse is what both need.
    if grep -q '^fuse ' /proc/modules; then rmmod fuse; fi
}
with_fuse() {
    modprobe fuse 2> /dev/null
    [ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229
    chmod 666 /dev/fuse
}
apparmor_restrict() {
    SWITCH=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
    [ -e $SWITCH ] || { echo 'this kernel has no kernel.apparmor_restrict_unprivileged_userns'; return 1; }
    echo 1 > $SWITCH
}
apparmor_release() { echo 0 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns; }
# Every line that `doctor` prints for it, as it stands there.
apparmor_profile() {
    as user "$RINGFENCE" doctor --json > /tmp/doctor.json
    python3 -c 'import json,sys
for check in json.load(open("/tmp/doctor.json"))["checks"]:
    if "apparmor" in check["found"]: print("\n".join(check["remedy"]).replace("sudo ", ""))' > /tmp/remedy
    [ -s /tmp/remedy ] || { echo 'doctor prints no profile'; return 1; }
    bash /tmp/remedy
}

# Runs a command as one of the two, in a workspace of theirs, with a file beside it that is nobody else's business.
as() {
    local who=$1; shift
    case $who in
    user)
        (cd /home/agent/work
        [ -z "$GROUP" ] || echo $BASHPID > "$GROUP/cgroup.procs"
        exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/agent USER=agent LANG=C.UTF-8 \
            setpriv --reuid agent --regid agent --clear-groups --inh-caps=-all "$@") ;;
    root)
        (cd /root/work
        exec env -i PATH="$PATH" HOME=/root USER=root LANG=C.UTF-8 "$@") ;;
    esac
}

for home in /home/agent /root; do
    mkdir -p $home/work
    echo CANARY > $home/secret
    echo before > $home/work/file
    chmod 600 $home/secret
done
chown -R agent:agent /home/agent
cat > /tmp/limited.toml <<'END'
version = 1
extends = ["default"]
limits.memory = "512MiB"
limits.processes = 200
END
cat > /tmp/network.toml <<'END'
version = 1
extends = ["default"]
network.allow = ["allowed.example:80"]
END
cat > /tmp/guarded.toml <<'END'
version = 1
extends = ["default"]
commands.allow = ["echo good"]
END


trial() { # variant who tier
    local home=/root leave=
    [ "$2" = user ] && home=/home/agent
    [ "$2-$3" = root-landlock ] && leave='--allow-degraded root-uid'
    local task="grep -q before file && echo after > file && grep -q after file && ! grep CANARY $home/secret && ! echo x > /etc/x"
    rm -rf /tmp/report.json /tmp/out; touch /tmp/report.json; chmod 666 /tmp/report.json
    as "$2" timeout 120 $RINGFENCE run $leave --policy /tmp/limited.toml --report /tmp/report.json -- sh -c "$task" > /tmp/out 2>&1
    local status=$?
    # What the task wrote is in its layer, not here.
    grep -q before $home/work/file || say wrong "$1" "$2" 'the workspace changed without apply'
    say run "$1" "$2" $status "$(packed /tmp/report.json)" "$(packed /tmp/out)"
    : > /tmp/report.json
    as "$2" timeout 120 $RINGFENCE run $leave --policy /tmp/guarded.toml --report /tmp/report.json -- echo good > /tmp/out 2>&1
    status=$?
    as "$2" timeout 120 $RINGFENCE run $leave --policy /tmp/guarded.toml -- echo bad > /tmp/bad 2>&1
    local bad=$?
    grep -q '^bad$' /tmp/bad && say wrong "$1" "$2" 'what commands.allow does not list ran'
    say guard "$1" "$2" $status $bad "$(packed /tmp/out)"
    as "$2" timeout 120 $RINGFENCE run $leave --policy /tmp/network.toml -- true > /tmp/out 2>&1
    say network "$1" "$2" $? "$(packed /tmp/out)"
    # Its own trial has ten seconds, which an emulated processor may take.
    for attempt in 1 2 3; do
        as "$2" timeout 200 $RINGFENCE doctor --json > /tmp/out 2>&1
        grep -q 'it did not end within' /tmp/out || break
    done
    say doctor "$1" "$2" $? "$(packed /tmp/out)"
}

say up "$(uname -r)" "$(uname -v)"
tr -d '\000' < /dev/vdb > /tmp/variants
while IFS='|' read -r -u 9 name before after rows user root options; do
    if ! eval "$before" > /tmp/before 2>&1; then
        say left-out "$name" "$(packed /tmp/before)"
        eval "$after" > /dev/null 2>&1
        continue
    fi
    trial "$name" user "$user"
    trial "$name" root "$root"
    for who in user root; do
        tier=$user
        [ $who = user ] || tier=$root
        [ -n "$rows" ] && [ "$tier" != - ] || continue
        # The homes of its world lie on tmpfs, which Linux 6.3 was the first to idmap.
        [ $who = root ] && case $(uname -r) in 6.[0-2].*) continue ;; esac
        # As which of the two an attack is shown to work makes no difference.
        [ $who = user ] || options=--no-control
        /kernels/xtask attack $rows $options --as $who --tier "$tier" --jobs 1 --json --binary $RINGFENCE \
            > /tmp/out 2> /tmp/err < /dev/null
        say attack "$name" $who "$(packed /tmp/out)" "$(packed /tmp/err)"
    done
    eval "$after" > /dev/null 2>&1
    say done "$name"
done 9< /tmp/variants
say end
sync
echo o > /proc/sysrq-trigger
sleep 60
