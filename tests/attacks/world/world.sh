# Turns fresh user, mount, pid, network, ipc and uts namespaces into a host of our own, then starts the worker in it.
# RF_SCRATCH: directory of this world. RF_AS: user | root | control | nested. RF_UID, RF_GID: who the worker runs as.
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 ringfence-etc "$RF_SCRATCH/etc"
cp -a /etc/. "$RF_SCRATCH/etc/" 2>/dev/null || true
cd "$RF_SCRATCH/etc"
rm -f resolv.conf hosts
echo 'nameserver 203.0.113.53' > resolv.conf
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > hosts
rm -f gitconfig ld.so.preload
[ ! -e machine-id ] || { rm -f machine-id; echo 5f0c1d2e3a4b4c5d8e9f0a1b2c3d4e5f > machine-id; }
superuser=$(getent passwd 0 | cut -d: -f6)
case $RF_AS in
user | nested)
    grep -v -e "^[^:]*:[^:]*:$RF_UID:" -e '^agent:' passwd > passwd.new || true
    echo "agent:x:$RF_UID:$RF_GID:An agent:/home/agent:/bin/bash" >> passwd.new
    mv passwd.new passwd
    grep -v -e "^[^:]*:[^:]*:$RF_GID:" -e '^agent:' group > group.new || true
    echo "agent:x:$RF_GID:" >> group.new
    mv group.new group
    ;;
esac
cd /
mount --bind "$RF_SCRATCH/etc" /etc
mount --bind "$RF_SCRATCH/root" "$superuser"
mount --bind "$RF_SCRATCH/home" /home
mount -t tmpfs -o mode=1777 ringfence-tmp /tmp
mount -t tmpfs -o mode=1777 ringfence-shm /dev/shm
mount -t tmpfs -o mode=755 ringfence-run /run
mkdir -p /dev/mqueue 2>/dev/null || true
[ ! -d /dev/mqueue ] || mount -t mqueue ringfence-mqueue /dev/mqueue || true

# What a desktop, a login, a container engine and an orchestrator leave in /run.
user=/run/user/$RF_UID
mkdir -p /run/lock "$user/pulse" "$user/gnupg" "$user/keyring" "$user/systemd" /run/systemd/resolve \
    /run/systemd/userdb /run/systemd/journal /run/systemd/sessions /run/nscd /run/avahi-daemon /run/pcscd \
    /run/secrets/kubernetes.io/serviceaccount /tmp/.X11-unix /tmp/ssh-world /tmp/rf /home/world
echo CANARY-SERVICEACCOUNT > /run/secrets/kubernetes.io/serviceaccount/token
echo CANARY-UTMP > /run/utmp
echo CANARY-SESSION > /run/systemd/sessions/1
chmod 700 "$user" /tmp/ssh-world
# Where udev is at work, everybody may open it.
if [ "$RF_AS" = user ] && [ -e /dev/fuse ]; then
    mknod -m 666 /tmp/rf/fuse c 10 229
    mount --bind /tmp/rf/fuse /dev/fuse
    rm /tmp/rf/fuse
fi
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
python3 /home/bin/world.py addresses < /dev/null
# What is on the wire is noted as whoever made the namespaces: it ends with them.
: > /tmp/rf/wire.log
exec 3< <(exec python3 /home/bin/world.py capture)
read -r _ <&3
exec 3<&-
# As Debian has it: what keeps echo requests in is not a setting of the host.
for last in 2147483647 0; do
    ! echo "0 $last" > /proc/sys/net/ipv4/ping_group_range || break
done 2> /dev/null
[ "$RF_AS" = root ] && export RF_HOME="$superuser" || export RF_HOME=/home/agent
case $RF_AS in
user)
    chown -R "$RF_UID:$RF_GID" /run /tmp /home/world /home/agent
    setpriv --reuid "$RF_UID" --regid "$RF_GID" --clear-groups --inh-caps=-all \
        /home/bin/runner attack-worker user
    ;;
nested)
    unshare --user --map-user="$RF_UID" --map-group="$RF_GID" /home/bin/runner attack-worker user
    ;;
*)
    /home/bin/runner attack-worker "$RF_AS"
    ;;
esac
