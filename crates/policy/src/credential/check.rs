//! What credentials contradict in the rest of a policy.

use crate::credential::pairs::{contradictions, meet};
use crate::credential::{Credential, Form, SecretSource, aws_variables};
use crate::destination::{Protocol, covers};
use crate::diagnostic::{Place, Problem, Report};
use crate::merge::Merged;
use crate::reader::At;

/// More of them than any task needs.
const MOST: usize = 64;

/// What contradicts the rest of the policy.
pub(crate) fn check(merged: &Merged, report: &mut Report) {
    let none = merged.inspect.as_ref().filter(|inspect| inspect.value == "none");
    let mut exposed: Vec<(&str, Place)> = Vec::new();
    for name in
        merged.grantable_credentials.iter().filter(|name| !merged.credentials.contains_key(&name.value))
    {
        let problem = Problem::new(
            name.place,
            format!("there is no credential `{}` that could be granted", name.value),
        );
        report.push(problem.help(format!("add `[credentials.{}]`, or remove it here", name.value)));
    }
    for (name, at) in &merged.credentials {
        let credential = &at.value;
        if let Some(inspect) = none.filter(|_| !credential.signs()) {
            let title = "a credential is put on requests by inspection, and `network.inspect` is `none`";
            report.push(Problem::new(inspect.place, title).related(at.place, format!("credential `{name}`")));
        }
        for endpoint in &credential.hosts {
            let over = merged.reach.iter().filter(|rule| {
                rule.value.endpoint.port == endpoint.port && covers(&rule.value.endpoint.host, &endpoint.host)
            });
            let over: Vec<_> = over.collect();
            let title = if over.is_empty() {
                format!(
                    "no rule of `network.allow` covers `{endpoint}`: the credential `{name}` could not be used"
                )
            } else if !credential.signs() && over.iter().any(|rule| rule.value.closed) {
                format!(
                    "the credential `{name}` goes to `{endpoint}`, whose TLS a rule keeps from inspection"
                )
            } else if credential.ssh() || over.iter().all(|rule| rule.value.protocol == Protocol::Tls) {
                continue;
            } else {
                format!("the credential `{name}` goes to `{endpoint}`, which is not TLS")
            };
            let help = match over.first() {
                None => format!("add it: `[network] allow = [\"{endpoint}\"]`"),
                Some(rule) if rule.value.closed => "remove `inspect = false`".to_owned(),
                Some(_) => {
                    "a secret is sent over verified TLS alone: add `tls = true` to the rule".to_owned()
                }
            };
            report.push(Problem::new(at.place, title).help(help));
        }
        report_all(sigv4(name, at), report);
        report_all(certificate(name, at, merged), report);
        if credential.expose.as_ref().is_some_and(|expose| expose.git)
            && !credential.inject.iter().any(|form| matches!(form, Form::Basic(_) | Form::Registry(_)))
        {
            let problem = Problem::new(at.place, format!("git sends `{name}` as basic authentication"));
            report.push(
                problem.help("write `inject = \"basic\"`, or `inject = [\"bearer\", \"basic\"]`".to_owned()),
            );
        }
        let git = credential.gpg()
            || credential.git_only()
            || credential.expose.as_ref().is_some_and(|expose| expose.git);
        if let Some(set) = merged.set.get("GIT_CONFIG_COUNT").filter(|_| git) {
            let problem = Problem::new(
                at.place,
                format!("git is told of `{name}` by `GIT_CONFIG_COUNT`, which is set"),
            );
            report.push(problem.related(set.place, "here".to_owned()));
        }
        if let Some(variable) = credential.expose.as_ref().and_then(|expose| expose.env.as_deref()) {
            let set = merged.set.get(variable).map(|set| set.place);
            let twice = exposed.iter().find(|(known, _)| *known == variable).map(|(_, place)| *place);
            if let Some(other) = set.or(twice) {
                let title = format!("the variable `{variable}` has two values");
                report.push(Problem::new(at.place, title).related(other, "the other one".to_owned()));
            }
            exposed.push((variable, at.place));
        }
    }
    report_all(two_ways(merged), report);
    report_all(contradictions(merged), report);
    let mut keys = merged.credentials.values().filter(|at| at.value.gpg());
    if let (Some(one), Some(other)) = (keys.next(), keys.next()) {
        let problem = Problem::new(other.place, "two keys of gpg, of which git could not say which it means");
        report.push(problem.related(one.place, "the other one".to_owned()).help("keep one".to_owned()));
    }
    if let Some((_, at)) = merged.credentials.iter().nth(MOST) {
        report.push(Problem::new(at.place, format!("more than {MOST} credentials")));
    }
}

/// A host where git alone uses one key of ssh, and the task itself another one: nothing would then bound a push.
fn two_ways(merged: &Merged) -> Vec<Problem> {
    let keys = || merged.credentials.iter().filter(|(_, at)| at.value.ssh());
    let mut found = Vec::new();
    for (name, own) in keys().filter(|(_, at)| at.value.git_only()) {
        for (other, at) in keys().filter(|(_, at)| !at.value.git_only()) {
            if let Some(host) = own.value.hosts.iter().find(|host| at.value.hosts.contains(host)) {
                let title = format!(
                    "`push` of `{name}` would not hold at `{host}`: the task signs in there with `{other}`"
                );
                let problem =
                    Problem::new(own.place, title).related(at.place, format!("credential `{other}`"));
                found.push(problem.help("write `push` for both, or for none".to_owned()));
            }
        }
    }
    found
}

fn report_all(problems: Vec<Problem>, report: &mut Report) {
    problems.into_iter().for_each(|problem| report.push(problem));
}

/// What a certificate has not, and what of SPIFFE is none.
fn certificate(name: &str, at: &At<Credential>, merged: &Merged) -> Vec<Problem> {
    let credential = &at.value;
    let mut found = Vec::new();
    let mut wrong =
        |title: String, help: &str| found.push(Problem::new(at.place, title).help(help.to_owned()));
    let x509 = matches!(&credential.source, SecretSource::Spiffe(spiffe) if spiffe.x509);
    if !credential.certificate() {
        if x509 {
            wrong(
                format!("`{name}` is a certificate, which goes on no request"),
                "write `inject = \"certificate\"`",
            );
        }
        return found;
    }
    if credential.inject.len() > 1 {
        wrong(
            format!("`{name}` is a certificate, and can be put on requests in no other way"),
            "write `certificate` alone",
        );
    }
    if credential.expose.is_some() || credential.like.is_some() {
        wrong(
            format!("nothing stands for `{name}`: the gateway shows the certificate to the hosts itself"),
            "remove `expose` and `like`",
        );
    }
    let none = match &credential.source {
        SecretSource::Oauth(_) => true,
        SecretSource::Spiffe(_) => !x509,
        _ => false,
    };
    if none {
        wrong(
            format!("{} is no certificate", credential.source),
            "name a source that holds one with its key: a file, a command, or `spiffe = { x509 = true }`",
        );
    }
    let before = merged.credentials.iter().take_while(|(other, _)| *other != name);
    if let Some((other, _)) =
        before.into_iter().find(|(_, at)| at.value.certificate() && meet(&at.value, credential))
    {
        wrong(
            format!("`{other}` and `{name}` are two certificates for one host, which is shown one"),
            "name each host in one of them",
        );
    }
    found
}

/// What keys that sign need: a signature of the task's that is made anew, and all of their parts.
fn sigv4(name: &str, at: &At<Credential>) -> Vec<Problem> {
    let credential = &at.value;
    if !credential.aws() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut wrong =
        |title: String, help: &str| found.push(Problem::new(at.place, title).help(help.to_owned()));
    if credential.inject.len() > 1 {
        wrong(
            format!("`{name}` signs requests, and can be put on them in no other way"),
            "write `sigv4` alone",
        );
    }
    match &credential.expose {
        Some(expose) if expose.text.is_none() && !expose.git => {}
        Some(_) => wrong(
            format!("the keys of `{name}` have a form of their own"),
            "leave out `text` and `git`: a variable gets the others beside it, a file is one of AWS's",
        ),
        None => wrong(
            format!(
                "requests are signed with `{name}` where the task has signed them, and it has nothing to do that with"
            ),
            "add `expose = { env = \"AWS_SECRET_ACCESS_KEY\" }`",
        ),
    }
    let source = match &credential.source {
        SecretSource::Env(variable) => Some(variable),
        _ => None,
    };
    let exposed = credential.expose.as_ref().and_then(|expose| expose.env.as_ref());
    for variable in [source, exposed].into_iter().flatten().filter(|name| aws_variables(name).is_none()) {
        wrong(
            format!("`{variable}` does not say which variables hold the other parts of the keys"),
            "name the one of the secret key, `AWS_SECRET_ACCESS_KEY` or `X_SECRET_ACCESS_KEY`: `.._ACCESS_KEY_ID` and `.._SESSION_TOKEN` belong to it",
        );
    }
    found
}
