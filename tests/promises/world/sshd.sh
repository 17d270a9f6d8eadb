# Two hosts with servers of ssh, an agent with two keys, and a repository; sourced by a script on the world's host.
# `one` is granted and known, `two` is another host with another key.
cd "$BASE" || exit 99
for name in host_one host_two id other; do ssh-keygen -q -t ed25519 -N '' -C "$name@invoker" -f "$BASE/$name"; done
cat id.pub other.pub > authorized
serve() {
  cat > "sshd_$1" <<END
ListenAddress $2:22
HostKey $BASE/host_$1
AuthorizedKeysFile $BASE/authorized
PidFile $BASE/sshd_$1.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
AllowAgentForwarding yes
AcceptEnv GIT_PROTOCOL
END
  mkdir -p /run/sshd 2>/dev/null
  /usr/sbin/sshd -f "$BASE/sshd_$1" -E "$BASE/sshd_$1.log" || { cat "$BASE/sshd_$1.log" >&2; exit 99; }
}
echo 1 > /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null
serve one 203.0.113.10; serve two 203.0.113.20
for i in $(seq 100); do [ -s sshd_one.pid ] && [ -s sshd_two.pid ] && break; sleep 0.05; done
eval "$(ssh-agent -a "$BASE/agent" -s)" > /dev/null
ssh-add -q id other
mkdir -p "$HOME/.ssh"
# Behind 7001 is a server that says what it hears.
for name in allowed.example '[allowed.example]:7001'; do echo "$name $(cut -d' ' -f1,2 host_one.pub)"; done > "$HOME/.ssh/known_hosts"
git init -q --bare "$BASE/one.git"
print=$(ssh-keygen -lf id.pub | cut -d' ' -f2)
ended() { kill "$SSH_AGENT_PID" $(cat sshd_one.pid sshd_two.pid); }
