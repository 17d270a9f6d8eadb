# Debian's tunnels: `servers` on addresses that no rule covers, or `clients SECONDS`, which says which of them come up.
# $TUNNELS holds the packages' files, $BASE what the world made; iodine needs a tun device, and thus root.
export LD_LIBRARY_PATH=$TUNNELS/lib/x86_64-linux-gnu:$TUNNELS/usr/lib/x86_64-linux-gnu
to=203.0.113.20
case $1 in
servers)
    printf 'listen = %s\nport = 53\ndomain = t.example\nresources = web:%s:80\n' $to $to > "$BASE/dns2tcpd.conf"
    printf 'foreground = yes\npid =\n[s]\naccept = %s:8443\nconnect = %s:80\ncert = %s/server.pem\nkey = %s/server.key\n' \
        $to $to "$BASE" "$BASE" > "$BASE/stunnel.conf"
    echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all
    "$TUNNELS/usr/bin/dns2tcpd" -F -f "$BASE/dns2tcpd.conf" &
    "$TUNNELS/usr/bin/stunnel4" "$BASE/stunnel.conf" &
    "$TUNNELS/usr/bin/ptunnel-ng" &
    [ "$(id -u)" != 0 ] || "$TUNNELS/usr/sbin/iodined" -f -c -P secret -l 10.9.8.7 10.53.0.1 t2.example &
    wait
    ;;
clients)
    printf 'foreground = yes\npid =\n[c]\nclient = yes\naccept = 127.0.0.1:7004\nconnect = %s:8443\n' $to > stunnel.conf
    "$TUNNELS/usr/bin/dns2tcpc" -z t.example -l 7001 -r web $to > dns2tcp.log 2>&1 &
    "$TUNNELS/usr/bin/ptunnel-ng" -p$to -l7003 -r$to -R80 > ptunnel-ng.log 2>&1 &
    "$TUNNELS/usr/bin/stunnel4" stunnel.conf > stunnel.log 2>&1 &
    "$TUNNELS/usr/sbin/iodine" -f -P secret -r 10.9.8.7 t2.example > iodine.log 2>&1 &
    # The other way to a DNS tunnel's server: through the resolver that everybody has.
    "$TUNNELS/usr/sbin/iodine" -f -P secret -r t2.example > iodine-resolver.log 2>&1 &
    up=
    for n in $(seq "$2"); do
        for tunnel in dns2tcp=7001 ptunnel-ng=7003 stunnel=7004; do
            case " $up " in *" ${tunnel%=*} "*) continue ;; esac
            curl -sm1 "http://127.0.0.1:${tunnel#*=}/" | grep -q DENIED && up="$up ${tunnel%=*}"
        done
        case " $up " in *" iodine "*) ;; *) ! grep -q 'setup complete' iodine.log || up="$up iodine" ;; esac
        [ "$(echo $up | wc -w)" -lt 4 ] || break
        sleep 0.5
    done
    kill $(jobs -p) 2>/dev/null
    echo "up:" $(printf '%s\n' $up | sort)
    ;;
esac
