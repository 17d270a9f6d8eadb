//! The events of what goes out: connections that failed, credentials, a container engine, secrets.

use ringfence_confine::Refused;
use ringfence_record::Event;

/// `None`: it is about something else.
pub(crate) fn event(what: &Refused, process: i32, program: String) -> Option<Event> {
    match what {
        Refused::Credential { name, host, port, request, rule, .. } if rule.is_empty() => {
            Some(Event::CredentialUse {
                credential: name.clone(),
                host: host.clone(),
                port: *port,
                request: request.clone(),
                process,
                program,
                times: 1,
            })
        }
        Refused::Credential { name, host, port, request, rule, .. } => Some(Event::CredentialDeny {
            credential: name.clone(),
            host: host.clone(),
            port: *port,
            request: request.clone(),
            process,
            program,
            times: 1,
            rule: rule.clone(),
        }),
        Refused::Failed { host, port, why, .. } => Some(Event::NetFail {
            unix: if *port == 0 { host.clone() } else { String::new() },
            host: if *port == 0 { String::new() } else { host.clone() },
            port: *port,
            why: why.clone(),
            process,
            program,
            times: 1,
        }),
        Refused::Engine { request, rule } if rule.is_empty() => {
            Some(Event::ContainerUse { request: request.clone(), process, program, times: 1 })
        }
        Refused::Engine { request, rule } => Some(Event::ContainerDeny {
            request: request.clone(),
            process,
            program,
            times: 1,
            rule: rule.clone(),
        }),
        Refused::Leak { name, way, host, port, request, action, .. } => Some(Event::Leak {
            secret: name.clone(),
            way: way.clone(),
            host: host.clone(),
            port: *port,
            request: request.clone(),
            action: action.word().to_owned(),
            process,
            program,
            times: 1,
            rule: format!("{name}, {way}, was in what was to leave: `[leaks]`"),
        }),
        _ => None,
    }
}

/// Granted connections that failed and have no event of their own.
pub(crate) fn more_failed(times: u64) -> Event {
    Event::NetFail {
        unix: String::new(),
        host: "(others)".to_owned(),
        port: 0,
        why: format!("{times} more, too many to be told of one by one"),
        process: 0,
        program: String::new(),
        times,
    }
}
