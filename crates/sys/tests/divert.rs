//! The rules in a network namespace of the test's own: the kernel accepts them, and does what they say.

#![expect(clippy::unwrap_used, reason = "a failing step ends the test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use ringfence_sys::Errno;
use ringfence_sys::divert::{Listeners, original_destination};
use ringfence_sys::refused::{packets, watch};
use rustix::net::{AddressFamily, SocketType, accept, recv, recvfrom, sendto, socket};
use rustix::net::{RecvFlags, SendFlags};

const INSIDE: &str = "RINGFENCE_TEST_INSIDE";

/// Runs a test of this file as the root of new user and network namespaces; true within them.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        ringfence_sys::network::loopback_up(any.as_fd()).unwrap();
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("-Urn").arg(own).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let done = command.output().unwrap();
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn diverted() -> Listeners {
    let mut listeners = Listeners::new().unwrap();
    listeners.divert().unwrap();
    listeners
}

/// Connects to `asked`; the connection as this listener has it.
fn connected(listener: &OwnedFd, asked: &str) -> (TcpStream, OwnedFd) {
    let limit = Duration::from_secs(5);
    let client = TcpStream::connect_timeout(&asked.parse().unwrap(), limit).unwrap();
    client.set_read_timeout(Some(limit)).unwrap();
    (client, accept(listener).unwrap())
}

#[test]
fn each_connection_comes_to_the_listener_and_tells_where_it_went() {
    if !inside("each_connection_comes_to_the_listener_and_tells_where_it_went") {
        return;
    }
    let listeners = diverted();
    for (number, asked) in [(0, "198.18.0.5:443"), (0, "10.0.0.1:22"), (1, "[2001:db8::1]:80")] {
        let (mut client, served) = connected(&listeners.streams[number], asked);
        assert_eq!(original_destination(served.as_fd()), Ok(asked.parse().unwrap()));
        rustix::io::write(&served, b"hello").unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    }
    for (number, asked) in [(0, "192.0.2.1:53"), (1, "[2001:db8::1]:53")] {
        let (_client, served) = connected(&listeners.long_questions[number], asked);
        assert_eq!(original_destination(served.as_fd()), Ok(asked.parse().unwrap()));
    }
}

#[test]
fn who_asks_for_the_listener_itself_was_not_diverted() {
    if !inside("who_asks_for_the_listener_itself_was_not_diverted") {
        return;
    }
    let listeners = diverted();
    for listener in &listeners.streams {
        let own = SocketAddr::try_from(rustix::net::getsockname(listener).unwrap()).unwrap();
        let (_client, served) = connected(listener, &own.to_string());
        assert_eq!(original_destination(served.as_fd()), Err(Errno::NOENT));
    }
}

#[test]
fn questions_are_answered_from_the_address_that_was_asked() {
    if !inside("questions_are_answered_from_the_address_that_was_asked") {
        return;
    }
    let listeners = diverted();
    for (number, own, asked) in [(0, "0.0.0.0:0", "192.0.2.1:53"), (1, "[::]:0", "[2001:db8::1]:53")] {
        let client = UdpSocket::bind(own).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.connect(asked).unwrap();
        client.send(b"question").unwrap();
        let mut buffer = [0; 64];
        let served = &listeners.questions[number];
        let (_, length, from) = recvfrom(served, &mut buffer[..], RecvFlags::empty()).unwrap();
        assert_eq!(&buffer[..length], b"question");
        sendto(served, b"answer", SendFlags::empty(), &from.unwrap()).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
    }
}

#[test]
fn what_nobody_serves_is_refused_at_once() {
    if !inside("what_nobody_serves_is_refused_at_once") {
        return;
    }
    let listeners = diverted();
    for (own, asked) in [
        ("0.0.0.0:0", "198.18.0.5:443"),
        ("0.0.0.0:0", "169.254.169.254:80"),
        ("[::]:0", "[2001:db8::1]:443"),
        ("[::]:0", "[fe80::1]:123"),
    ] {
        let client = UdpSocket::bind(own).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let begun = Instant::now();
        // A link-local address without an interface is refused before it is sent.
        let sent = client.connect(asked).and_then(|()| client.send(b"out"));
        let refused = match sent {
            Ok(_) => client.recv(&mut [0; 64]).unwrap_err(),
            Err(error) => error,
        };
        let usual = [ErrorKind::ConnectionRefused, ErrorKind::InvalidInput];
        assert!(usual.contains(&refused.kind()), "{asked}: {refused}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{asked}: {:?}", begun.elapsed());
    }
    // Each that was sent is told of.
    let mut told = Vec::new();
    let mut bytes = [0; 8192];
    while let Ok((_, length)) = recv(listeners.refused.as_ref().unwrap(), &mut bytes[..], RecvFlags::DONTWAIT)
    {
        told.extend(
            packets(&bytes[..length])
                .into_iter()
                .map(|one| (one.protocol, SocketAddr::new(one.to, one.port))),
        );
    }
    let expected = ["198.18.0.5:443", "169.254.169.254:80", "[2001:db8::1]:443"];
    assert_eq!(told, expected.map(|asked| (17, asked.parse().unwrap())));
}

#[test]
fn the_loopback_stays_the_namespaces_own() {
    if !inside("the_loopback_stays_the_namespaces_own") {
        return;
    }
    let listeners = diverted();
    for address in ["127.0.0.1:53", "127.0.0.1:8080", "127.8.9.10:443", "[::1]:53", "[::1]:443"] {
        let server = TcpListener::bind(address).unwrap();
        server.set_nonblocking(true).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"own").unwrap();
        let mut heard = [0; 3];
        server.accept().unwrap().0.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"own");
        let server = UdpSocket::bind(address).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let family = if address.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        UdpSocket::bind(family).unwrap().send_to(b"own", address).unwrap();
        assert_eq!(server.recv(&mut heard).unwrap(), 3);
    }
    let closed = TcpStream::connect("127.0.0.1:9").unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::ConnectionRefused);
    for listener in listeners.streams.iter().chain(&listeners.long_questions) {
        assert_eq!(accept(listener).unwrap_err(), Errno::AGAIN);
    }
}

#[test]
fn without_the_right_nothing_is_done_and_a_second_time_is_an_error() {
    if !inside("without_the_right_nothing_is_done_and_a_second_time_is_an_error") {
        return;
    }
    let mut listeners = diverted();
    assert_eq!(listeners.divert(), Err(Errno::EXIST));
    let none = rustix::thread::CapabilitySets {
        effective: rustix::thread::CapabilitySet::empty(),
        permitted: rustix::thread::CapabilitySet::empty(),
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).unwrap();
    assert_eq!(listeners.divert(), Err(Errno::PERM));
}

#[test]
fn a_host_without_the_new_family_still_leads_the_old_one() {
    if !inside("a_host_without_the_new_family_still_leads_the_old_one") {
        return;
    }
    // The loopback loses ::1; a kernel that was booted without the family says the same one call earlier.
    std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap();
    let listeners = diverted();
    let (_client, served) = connected(&listeners.streams[0], "198.18.0.5:443");
    assert_eq!(original_destination(served.as_fd()), Ok("198.18.0.5:443".parse().unwrap()));
    let limit = Duration::from_secs(5);
    assert!(TcpStream::connect_timeout(&"[2001:db8::1]:80".parse().unwrap(), limit).is_err());
    assert_eq!(accept(&listeners.streams[1]).unwrap_err(), Errno::AGAIN);
}

#[test]
fn where_nobody_can_be_told_it_is_refused_all_the_same() {
    if !inside("where_nobody_can_be_told_it_is_refused_all_the_same") {
        return;
    }
    // The kernel's copies go to one socket alone.
    let _other = watch().unwrap();
    let listeners = diverted();
    assert!(listeners.refused.is_none());
    let client = UdpSocket::bind("0.0.0.0:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.connect("198.18.0.5:443").unwrap();
    client.send(b"out").unwrap();
    assert_eq!(client.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let (_client, served) = connected(&listeners.streams[0], "198.18.0.5:443");
    assert_eq!(original_destination(served.as_fd()), Ok("198.18.0.5:443".parse().unwrap()));
}
