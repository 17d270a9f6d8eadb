//! What is said arrives.

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::*;

#[test]
fn messages_survive_the_pipe() {
    for message in [
        Message::Failed { stage: 107, errno: Errno::PERM, job: 6 },
        Message::NotExecuted { job: 7, errno: Errno::ACCESS, needs: None, unfit: Some(Unfit::NotRegular) },
        Message::NotExecuted { job: 8, errno: Errno::NOENT, needs: Some("/lib/ld".into()), unfit: None },
        Message::Exited { job: 1, status: 3 },
        Message::Signalled { job: 2, signal: 9 },
        Message::Stopped { job: 3, yes: true },
        Message::Listening { job: 4 },
        Message::Terminal { job: 5 },
        Message::Made(70_000),
        Message::MuchMemory,
        Message::ManyProcesses,
        Message::Unnamed { mebibytes: 7, whole: false },
        Message::Opened { number: 9 },
        Message::Closed { number: 10 },
        Message::Shown,
        Message::Left("/x".into()),
        Message::Quiet { yes: true },
        Message::Renewed,
        Message::Question(None),
        Message::Answer { done: true, text: "so it is".into() },
        Message::Refused(Refusal {
            number: 7,
            process: 1 << 20,
            program: Program {
                file: "/usr/bin/node".into(),
                script: "x.js".into(),
                starter: "y".into(),
                given: [4, 1],
            },
            what: Refused::Connect { path: "/run/y".into() },
        }),
        Message::Again { counts: vec![(1, 2)], others: 3 },
        Message::Ready,
    ] {
        assert_eq!(Message::decode(&message.encode()), Some(message));
    }
    assert_eq!(Message::decode(&[9; SIZE]), None);
    // Cut short.
    let refused = Message::Refused(Refusal {
        number: 7,
        process: 1,
        program: Program {
            file: "/usr/bin/node".into(),
            script: "x.js".into(),
            starter: "y".into(),
            given: [4, 1],
        },
        what: Refused::File { path: "/y".into(), asked: None, purpose: Purpose::Look },
    });
    let bytes = refused.encode();
    assert_eq!(Message::decode(&bytes[..bytes.len() - 1]), None);
}

#[test]
fn programs_are_told_of_in_as_few_messages_as_hold_them() {
    let command = |name: String| Command { file: name.into(), ..Command::default() };
    let began = |process| {
        let name = "x".repeat(usize::try_from(process).unwrap() % 300);
        Process { process, life: Life::Began { command: command(name), digest: Some([7; 32]) } }
    };
    let all: Vec<Process> = (1..=500).map(began).collect();
    let (here, there) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    for message in of_processes(&all) {
        rustix::net::send(&here, &message, SendFlags::NOSIGNAL).unwrap();
    }
    drop(here);
    let (mut heard, mut messages) = (Vec::new(), 0);
    while let Some((message, _)) = receive(there.as_fd()) {
        let Message::Processes(processes) = message else { panic!("{message:?}") };
        heard.extend(processes);
        messages += 1;
    }
    assert_eq!(heard, all);
    assert!((2..50).contains(&messages), "{messages}");
}
