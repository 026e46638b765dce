// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metrics, by either protocol.

use crate::vm::TestVm;
use hcall_abi::number::ECHO;
use hcall_vmm::extend::control::protocol::Command;
use std::collections::BTreeMap;
use std::io::Read;

/// Names with labels, and values, of a text for Prometheus: every line is checked.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut samples = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
            let rest = words.next().expect("a help or a type");
            if keyword == "TYPE" {
                assert!(["counter", "gauge", "histogram"].contains(&rest));
                assert!(
                    kinds.insert(name.to_owned(), rest).is_none(),
                    "{name} twice"
                );
            } else {
                assert_eq!(keyword, "HELP");
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let bare = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| bare.strip_suffix(suffix))
            .unwrap_or(bare);
        assert!(kinds.contains_key(family), "{line}: of no family");
        let value = value.parse().expect("a number");
        assert!(samples.insert(name.to_owned(), value).is_none(), "{name}");
    }
    samples
}

fn assert_counted(text: &str) {
    let samples = samples(text);
    let of = |name: &str| {
        *samples
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert_eq!(of("hcall_vm_state{state=\"running\"}"), 1.0);
    assert_eq!(of("hcall_calls_total{transport=\"instruction\"}"), 5.0);
    let latency = "hcall_number_latency_seconds";
    let labels = "number=\"0x48430002\",name=\"ECHO\"";
    assert_eq!(of(&format!("{latency}_count{{{labels}}}")), 5.0);
    assert_eq!(
        of(&format!("{latency}_bucket{{{labels},le=\"+Inf\"}}")),
        5.0
    );
    assert!(of(&format!("{latency}_sum{{{labels}}}")) > 0.0);
    // Each bucket holds those of the smaller ones.
    let mut buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|(name, value)| {
            let (_, bound) = name.strip_suffix("\"}")?.split_once("le=\"")?;
            Some((bound.replace("+Inf", "inf").parse().unwrap(), *value))
        })
        .collect();
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    assert!(buckets.len() > 10);
    assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1));
}

#[test]
fn metrics_are_prometheus_text_by_either_protocol() {
    let vm = TestVm::new();
    for _ in 0..5 {
        vm.call(ECHO);
    }
    let result = vm.ask(&Command::Metrics);
    assert_counted(result["text"].as_str().expect("a text"));

    let mut raw = vm.connect();
    raw.say(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n\r\n");
    let mut answer = String::new();
    raw.0.read_to_string(&mut answer).expect("it ends");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert_counted(body);
}

#[test]
fn other_pages_are_not_there() {
    let vm = TestVm::new();
    let mut raw = vm.connect();
    raw.say(b"GET /secrets HTTP/1.1\r\n\r\n");
    let mut answer = String::new();
    raw.0.read_to_string(&mut answer).expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    vm.assert_alive();
}
