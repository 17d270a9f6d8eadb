//! What a run is told as.

use super::*;

#[test]
fn packets_are_sent_and_those_that_nobody_hears_of_are_no_refusal() {
    let (mut explained, mut places, host) = (Explained::default(), BTreeMap::new(), Host::new());
    let mut deny = |name: &str, port: u16, rule: &str| {
        let detail = serde_json::json!({ "host": name, "port": port, "rule": rule, "times": 1 });
        let event = serde_json::json!({ "kind": "net.deny", "detail": detail });
        explained.add(&event, &mut places, &host, None);
    };
    deny("192.0.2.1", 443, "a packet of UDP, and more");
    deny("192.0.2.1", 0, "a packet of ICMP, and more");
    deny("192.0.2.1", 443, "no rule");
    deny(UNSEEN, 0, "the kernel has no nfnetlink_log");
    let told: Vec<_> =
        explained.refusals.iter().map(|one| (one.target.as_str(), one.purpose.as_str())).collect();
    assert_eq!(
        told,
        [("192.0.2.1:443", "datagram"), ("192.0.2.1", "datagram"), ("192.0.2.1:443", "connect")]
    );
    assert_eq!(explained.unseen, [format!("{UNSEEN}: the kernel has no nfnetlink_log")]);
}

#[test]
fn many_reasons_are_summed_up_and_outcomes_are_told_apart() {
    let (mut explained, mut places, host) = (Explained::default(), BTreeMap::new(), Host::new());
    let mut leak = |action: &str, rule: String| {
        let detail =
            serde_json::json!({ "secret": "s", "host": "h", "port": 443, "action": action, "rule": rule });
        let event = serde_json::json!({ "kind": "leak", "detail": detail });
        explained.add(&event, &mut places, &host, None);
    };
    (0..20).for_each(|number| leak("warn", format!("reason {number}")));
    leak("block", "another".into());
    leak("warn", "a last one".into());
    leak("warn", "a last one".into());
    let of =
        |outcome: &str| explained.refusals.iter().filter(|one| one.outcome == outcome).collect::<Vec<_>>();
    // Those that are too many stand for themselves, and for no other.
    assert_eq!((of("let through").len(), of("refused").len()), (WAYS + 1, 1));
    assert!(of("let through")[..WAYS].iter().all(|one| one.times == 1 && one.ways == 0));
    let more = of("let through")[WAYS];
    assert_eq!((more.ways, more.times), (13, 14));
    assert!(more.rule.starts_with("13 more ways") && more.remedy.is_empty(), "{}", more.rule);
    assert!(more.rule.contains("`events.jsonl`"), "{}", more.rule);
    assert_eq!((of("refused")[0].rule.as_str(), of("refused")[0].times), ("another", 1));
}

#[test]
fn what_nobody_answered_is_part_of_the_summary() {
    let told = |rule: &str, key: &str| Explanation {
        rule: rule.into(),
        remedy: vec!["[commands]".into(), format!("{key} = [\"ls x\"]")],
        caution: Some("it is asked again".into()),
        kind: "command",
        target: "ls x".into(),
        arguments: Vec::new(),
        purpose: "deny".into(),
        outcome: "refused",
        programs: Vec::new(),
        scripts: Vec::new(),
        askers: Vec::new(),
        listed: true,
        times: 1,
        on_host: None,
        grantable: false,
        ways: 0,
    };
    let answers =
        ["the owner was asked: nobody answered in time", "the owner was asked: the owner refused it"];
    let loader = Explanation { target: "/lib64/ld-linux-x86-64.so.2 ls".into(), ..told(answers[0], "deny") };
    let all = [told(answers[0], "allow"), told(answers[1], "children"), loader];
    let offered: Vec<_> = all.iter().filter(|one| is_offered(one)).collect();
    assert_eq!(together(&offered), "[commands]\nallow = [\"ls x\"]\n");
}
