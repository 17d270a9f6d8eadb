# A container engine of the test's own: Podman's service on $ENGINE, with one image and one container of somebody else's; sourced, in $BASE.
# An ordinary user has it in a user namespace, with the one id that needs no helper.
if [ -z "$ENGINE_HOME" ] && [ "$(id -u)" != 0 ]; then
  export ENGINE_HOME="$BASE/engine" _CONTAINERS_USERNS_CONFIGURED=done _CONTAINERS_ROOTLESS_UID=$(id -u) _CONTAINERS_ROOTLESS_GID=$(id -g)
fi
mkdir -p "$BASE/engine/run" "$BASE/rootfs/bin" "$BASE/rootfs/etc" && chmod 700 "$BASE/engine/run"
export ENGINE="$BASE/engine.sock" CONTAINERS_CONF="$BASE/containers.conf"
cat > "$CONTAINERS_CONF" <<'END'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
cgroupns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
[ -z "$ENGINE_HOME" ] || { unshare -rm sleep 600 < /dev/null > /dev/null 2>&1 & holder=$!; until [ "$(readlink /proc/$holder/ns/user)" != "$(readlink /proc/self/ns/user)" ] && grep -q . /proc/$holder/uid_map; do sleep 0.02; done; }
engine=(env HOME="$BASE/engine" podman --root "$BASE/engine/root" --runroot "$BASE/engine/runroot" --tmpdir "$BASE/engine/tmp" --storage-driver vfs)
[ -z "$ENGINE_HOME" ] || engine=(env XDG_RUNTIME_DIR="$BASE/engine/run" nsenter -t "$holder" -U -m --preserve-credentials "${engine[@]}")
failed() { cat "$BASE/engine.log" >&2; kill $holder; exit 99; }
cat > "$BASE/hello.c" <<'END'
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
  char bytes[256];
  long got;
  if (count > 1 && !strcmp(words[1], "sleep")) return sleep(300);
  if (count > 1 && !strcmp(words[1], "cat"))
    while ((got = read(0, bytes, sizeof bytes)) > 0) write(1, bytes, got);
  else
    puts("hello from a container");
  return 0;
}
END
gcc -static -o "$BASE/rootfs/bin/hello" "$BASE/hello.c" && tar -C "$BASE/rootfs" --owner=0 --group=0 -cf "$BASE/rootfs.tar" . || failed
"${engine[@]}" import "$BASE/rootfs.tar" docker.io/library/tiny:1 > /dev/null 2>> "$BASE/engine.log" || failed
"${engine[@]}" run -d --name theirs --network none docker.io/library/tiny:1 /bin/hello sleep > /dev/null 2>> "$BASE/engine.log" || failed
"${engine[@]}" system service --time 0 "unix://$ENGINE" >> "$BASE/engine.log" 2>&1 & service=$!
for i in $(seq 200); do [ -S "$ENGINE" ] && break; sleep 0.05; done
# The names of all containers.
left() { "${engine[@]}" ps -a --format '{{.Names}}' 2>> "$BASE/engine.log" | sort | tr '\n' ' '; }
# Who watches over a program that was started in a container stays for minutes.
ended() { kill -9 $(pgrep -f "^[^ ]*conmon .*$BASE/") 2> /dev/null; "${engine[@]}" rm -fa -t 0 >> "$BASE/engine.log" 2>&1; kill $service $holder; wait $service $holder 2> /dev/null; }
